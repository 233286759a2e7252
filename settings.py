"""The settings of a process: the variables `SEGUE_*` and `REDIS_URL`, and the TOML file of sources and destinations.

No other module reads them. The variables are read once into a frozen object; a bad value raises SettingsError.
`ingest.access.sources` and `mapping.destination` interpret the tables of the file. docs/settings.md documents every
field, and a test compares the two.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lanes.server.redis_url import broker_settings, checked_broker_url, checked_url
from metrics.traces import Traces

# The configuration without a file: one source, one destination, and the credentials that the simulator accepts.
DEFAULT_DOCUMENT: dict[str, Any] = {
    "sources": {
        "demo": {"write_key": "demo", "webhook_secret": "demo-secret", "trust": "server", "destinations": ["demo"]}
    },
    "destinations": {"demo": {"site_id": "demo", "api_key": "demo"}},
}

# `${NAME}`, a variable, and `${file:PATH}`, the content of a file.
_REFERENCE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)|file:([^}]+))\}")
# `$NAME` and `${NAME:-default}`, which shells replace and this file does not.
_SHELL_REFERENCE = re.compile(r"\$[A-Za-z_]|\$\{(?![A-Za-z_][A-Za-z0-9_]*\}|file:[^}]+\})")
# Tables in which `$` has a meaning of its own: paths, triggers and conditions.
_WITH_DOLLARS = ("mapping", "subscriptions", "filters")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # of a host
# An entry of SEGUE_CONSOLE_TOKENS, see `console.web.tokens`.
_TOKEN = re.compile(r"(?:viewer|operator|admin):[0-9a-f]{32}:[0-9a-f]{64}")
_CREDENTIALS_IN_URL = re.compile(r"//[^/]*@")


class SettingsError(Exception):
    """A variable or the configuration file is invalid. The message names the variable or the key, one fault a line."""


def _base_url(url: str) -> str:
    """Return the URL if paths can be added to it, and its host can be looked up; raise ValueError otherwise."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna").decode("idna"), parts.port
    except ValueError:  # also of a host name that IDNA does not allow, and of a port that is no number
        host = ""
    is_plain = url.isprintable() and not {" ", "@", "?", "#"}.intersection(url)
    if not host or not is_plain or parts.scheme not in ("http", "https"):
        raise ValueError("must be like https://events.example.com, with or without a path")
    return url


def _host(host: str) -> str:
    """Return the host if a server may listen on it; raise ValueError otherwise."""
    try:
        host.encode("idna")
    except UnicodeError:
        host = ""
    if not host or not host.isprintable() or not {" ", "/", "@"}.isdisjoint(host):
        raise ValueError("must be an address or the name of a host")
    return host


def _proxies(text: str) -> str:
    """Return the networks of proxies, separated by commas, or `*` for all; raise ValueError if one is none."""
    if text in ("", "*"):
        return text
    try:
        return ",".join(str(ip_network(part.strip(), strict=False)) for part in text.split(","))
    except ValueError:
        raise ValueError("must be addresses and networks like 10.0.0.0/8, separated by commas, or *") from None


def _names(text: str) -> str:
    """Return host names, separated by commas, as browsers send them; raise ValueError if one is none."""
    if not text:
        return text
    try:
        names = [part.strip().lower().encode("idna").decode() for part in text.split(",")]
    except UnicodeError:
        names = [""]
    if not all(map(_NAME.fullmatch, names)):
        raise ValueError("must be host names like console.example.com, without ports, separated by commas")
    return ",".join(names)


def _tokens(text: str) -> str:
    """Return the entries ROLE:SALT:HASH, separated by spaces; raise ValueError if one is none."""
    if not text.split() or not all(_TOKEN.fullmatch(entry) for entry in text.split()):
        raise ValueError("must be entries as `segue console token` prints them, separated by spaces or line feeds")
    return text


def _traces(traces: Traces) -> Traces:
    """Return what is made of spans; raise ValueError if the extra for it is not installed."""
    if traces == "otlp" and find_spec("opentelemetry") is None:
        raise ValueError("needs the packages of the extra otel of pyproject.toml")
    return traces


def _not_empty(path: Any) -> Any:
    """Return the path as it is set; raise ValueError if it is empty, which would be the working directory."""
    if path == "":
        raise ValueError("must not be empty; unset it, or name a path")
    return path


def _path(path: Path) -> Path:
    """Return the path if a URL can contain it; raise ValueError otherwise."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    return path


def _ledger_dir(location: str) -> str:
    """Return the path of a directory, absolute, or the URL of an object store; raise ValueError if neither is one."""
    if "://" not in location:
        return str(_path(Path(location)).absolute())
    parts = urlsplit(location)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", location):
        raise ValueError("must be a directory or s3://BUCKET/PREFIX, without credentials")
    return location


def _broker_url(url: str | None, info: ValidationInfo) -> str | None:
    """Return the URL if Celery can use it beside REDIS_URL, which was checked before; raise ValueError otherwise."""
    return checked_broker_url(url, info.data.get("redis_url", ""))


_Port = Annotated[int, Field(ge=1, le=65_535)]
_Path = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_path)]
_BaseUrl = Annotated[str, AfterValidator(_base_url)]
_DAY_S = 86_400


class Settings(BaseSettings):
    """The environment variables as typed values. Durations are seconds, ports are TCP ports on `host`.

    A field without a `repr` is secret: no text shows its value.
    """

    model_config = SettingsConfigDict(env_prefix="SEGUE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(checked_url)] = Field(
        default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL", repr=False
    )
    broker_url: Annotated[str | None, AfterValidator(_broker_url)] = Field(
        default=None, repr=False, validate_default=True
    )
    config: _Path | None = None
    data_dir: _Path = Path(".segue")
    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    ingest_port: _Port = 8080
    ingest_processes: int = Field(default=1, ge=1, le=1000)
    max_connections: int = Field(default=10_000, ge=1, le=1_000_000)
    max_connections_per_address: int | None = Field(default=None, ge=1, le=1_000_000)
    idle_s: float = Field(default=75.0, gt=0, le=_DAY_S)
    simulator_port: _Port = 8090
    console_host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    console_port: _Port = 8081
    console_auth: Literal["none", "tokens", "proxy"] = "none"
    console_tokens: Annotated[str, AfterValidator(_tokens)] | None = Field(default=None, repr=False)
    console_hosts: Annotated[str, AfterValidator(_names)] | None = None
    console_read_only: bool = False
    metrics_host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    metrics_port: _Port | None = None
    public_url: _BaseUrl | None = None
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = "127.0.0.1,::1"
    analytics_js: _Path | None = None
    workers: int = Field(default=2, ge=1, le=1000)
    concurrency: int = Field(default=4, ge=1, le=1000)
    track_url: _BaseUrl | None = None
    lease_s: float = Field(default=20.0, gt=0, le=_DAY_S)
    retry_base_s: float = Field(default=1.0, gt=0, le=_DAY_S)
    settle_s: float = Field(default=5.0, ge=0, le=_DAY_S)
    sweep_s: float = Field(default=1.0, gt=0, le=_DAY_S)
    spill_dir: _Path | None = None
    ledger_dir: Annotated[str, BeforeValidator(_not_empty), AfterValidator(_ledger_dir)] | None = None
    max_cooldown_s: float = Field(default=30.0, gt=0, le=_DAY_S)
    max_fan_in: int = Field(default=10, ge=1, le=1_000_000)
    queue_limit: int = Field(default=1_000_000, ge=1, le=10**12)
    durability: Literal["local", "replicated"] = "local"
    memory_share: float = Field(default=0.6, gt=0, le=1)
    dedupe_s: int = Field(default=24 * 3600, ge=1, le=3650 * _DAY_S)
    reorder_ms: int | None = Field(default=None, ge=0, lt=10_000)
    reorder_late_s: float = Field(default=60.0, ge=0, le=3650 * _DAY_S)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["info", "warning", "error"] = "info"
    process_name: str | None = None
    traces: Annotated[Traces, AfterValidator(_traces)] = "none"

    @classmethod
    def load(cls, joined: Mapping[str, str] = MappingProxyType({})) -> Settings:
        """Return the settings of this process, with the variables `joined` where the environment does not set them.

        Raises SettingsError: a value is invalid; the message names each such variable and its value.
        """
        values: dict[str, Any] = {_field(name): value for name, value in not_set(joined).items()}
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError("\n".join(map(_described, error.errors()))) from None

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from: arguments, then the variables and the files that variables name."""
        return init_settings, _Environment(settings_cls)

    @property
    def ledger_location(self) -> str:
        """Where the ledger's files are: a directory, or `s3://BUCKET/PREFIX`."""
        return str(self.data_dir / "ledger") if self.ledger_dir is None else self.ledger_dir

    @property
    def has_ledger(self) -> bool:
        """Whether the packages are installed that write and read the ledger."""
        return find_spec("pyarrow") is not None

    def broker(self) -> dict[str, Any]:
        """Return the settings of Celery that connect it to its Redis."""
        return broker_settings(self.broker_url or self.redis_url)

    def queue_config(self, remember_days: float) -> dict[str, int]:
        """Return the values of `lanes.NamedQueue` for a destination that remembers identities for so many days.

        The cooldowns of a key may last at least two of them.
        """
        return {
            "cooldown_ms": int(self.settle_s * 1000),
            "dedupe_s": self.dedupe_s,
            "join_s": int(remember_days * 86_400),
            "limit": self.queue_limit,
            "most_cooling_ms": int(1000 * max(self.max_cooldown_s, 2 * self.settle_s)),
            "most_fan_in": self.max_fan_in,
        }

    def document(self) -> dict[str, Any]:
        """Return the tables of the configuration file; without SEGUE_CONFIG, DEFAULT_DOCUMENT.

        Raises SettingsError as `read_document` does.
        """
        if self.config is None:
            return DEFAULT_DOCUMENT
        return read_document(self.config)

    def secret_files(self) -> list[Path]:
        """Return the files that variables `…_FILE` and `${file:PATH}` in the configuration file name."""
        files = [Path(name) for _, name in _named_files(os.environ)]
        if self.config is not None:
            files += [_beside(self.config, match[2]) for match in self._references() if match[2]]
        return files

    def unknown_variables(self) -> list[str]:
        """Return the variables `SEGUE_*` that nothing reads: no setting, and no `${NAME}` in the configuration file."""
        read = {name for setting in VARIABLES for name in (setting, f"{setting}_FILE")}
        read |= injected_variables(os.environ) | {match[1] for match in self._references() if match[1]}
        return sorted(name for name in os.environ if name.startswith("SEGUE_") and name not in read)

    def _references(self) -> list[re.Match[str]]:
        document = {} if self.config is None else _read(self.config)
        return [match for text in _texts(document) for match in _REFERENCE.finditer(text)]

    def literal_references(self) -> list[str]:
        """Return the keys of the configuration file with `$NAME` or `${NAME:-default}`, which are not replaced."""
        return [] if self.config is None else list(_literal_references(_read(self.config), ""))


VARIABLES = tuple(
    str(field.validation_alias or f"SEGUE_{name.upper()}") for name, field in Settings.model_fields.items()
)


class _Environment(EnvSettingsSource):
    """The variables of this process, without those that a platform injects, and with the contents of the files that
    variables `…_FILE` name. A variable has priority over its file."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        injected = {name.lower() for name in injected_variables(os.environ)}
        files = {variable: _content(Path(name), f"{variable}_FILE") for variable, name in _named_files(os.environ)}
        self.env_vars = {
            **{variable.lower(): text for variable, text in files.items()},
            **{name: value for name, value in self.env_vars.items() if name not in injected},
        }


# A service's address, as Kubernetes sets it in every container of a namespace for each of its services, and Docker for
# each link. A service `segue-ingest` so sets SEGUE_INGEST_PORT=tcp://10.0.0.1:8080 and six variables more.
_SERVICE = re.compile(r"(SEGUE_(?:\w+_)?)PORT(?:_\d+_(?:TCP|UDP|SCTP))?")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_OF_SERVICE = re.compile(r"PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?|SERVICE_(?:HOST|PORT(?:_\w+)?)|NAME|ENV_\w+")


def injected_variables(environment: Mapping[str, str]) -> set[str]:
    """Return the names of the variables that a platform has set for services whose names begin with `segue`."""
    matches = ((name, _SERVICE.fullmatch(name), value) for name, value in environment.items())
    addresses = {name: match[1] for name, match, value in matches if match and _ADDRESS.match(value)}
    others = {
        name
        for service in set(addresses.values())
        for name in environment
        if name.startswith(service) and _OF_SERVICE.fullmatch(name.removeprefix(service))
    }
    return addresses.keys() | others


def not_set(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the variables that the environment of this process does not set, directly or by a file."""
    return {
        name: value for name, value in variables.items() if name not in os.environ and f"{name}_FILE" not in os.environ
    }


def _named_files(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    names = [(variable, environment.get(f"{variable}_FILE")) for variable in VARIABLES if variable not in environment]
    return [(variable, name) for variable, name in names if name is not None]


def _content(file: Path, where: str) -> str:
    """Return the text of a file, without the line feeds at its end. `where` names it in a SettingsError."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{where}: {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{where}: {file} cannot be read: it is not UTF-8") from None


def _beside(config: Path, name: str) -> Path:
    """Return the path of a file that the configuration file names, from its own directory on."""
    return config.parent / name


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings of a document in which references are replaced."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "mapping":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def read_document(path: Path) -> dict[str, Any]:
    """Return the tables of the TOML file at `path`.

    `${NAME}` in a string is replaced by the environment variable NAME, and `${file:PATH}` by the content of a file,
    except in a table `mapping`. A path is that from the directory of the TOML file.

    Raises SettingsError: a file cannot be read or is not TOML, or a variable is not set.
    """
    return {key: _resolve(value, key, path) for key, value in _read(path).items()}


def digest(document: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that tell versions of a configuration apart."""
    return sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def toml_tables(text: str, where: str) -> dict[str, Any]:
    """Return the tables of a TOML document. Raises SettingsError: it is none, or JSON cannot express it."""
    try:
        tables = tomllib.loads(text)
        orjson.dumps(tables)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}") from None
    except (RecursionError, orjson.JSONEncodeError):
        raise SettingsError(f"{where}: must have at most 250 levels, and integers of 64 bits") from None
    return tables


def _read(path: Path) -> dict[str, Any]:
    try:
        return toml_tables(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not TOML: it is not UTF-8") from None


def _literal_references(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _WITH_DOLLARS:
                yield from _literal_references(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _literal_references(inner, f"{where}[{index}]")
    elif isinstance(value, str) and _SHELL_REFERENCE.search(value):
        yield where


def _resolve(value: Any, where: str, path: Path) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if key == "mapping" else _resolve(inner, f"{where}.{key}", path) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_resolve(inner, f"{where}[{index}]", path) for index, inner in enumerate(value)]
    if isinstance(value, str):
        return _REFERENCE.sub(partial(_referred, where, path), value)
    return value


def _referred(where: str, path: Path, reference: re.Match[str]) -> str:
    name, file = reference[1], reference[2]
    if file:
        return _content(_beside(path, file), f"{path}: {where}")
    if name not in os.environ:
        raise SettingsError(f"{path}: {where}: the environment variable {name} is not set")
    return os.environ[name]


def _described(fault: ErrorDetails) -> str:
    """Return the text for a fault that pydantic found; with the value, unless the field is secret."""
    variable, text = _variable(fault["loc"]), fault["msg"].removeprefix("Value error, ")
    if not Settings.model_fields[_field(variable).lower()].repr:
        return f"{variable}: {text}"
    return f"{variable}: {text} (it is {_CREDENTIALS_IN_URL.sub('//***@', repr(fault['input']))})"


def _field(variable: str) -> str:
    return variable if variable == "REDIS_URL" else variable.removeprefix("SEGUE_").lower()


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.isupper() else f"SEGUE_{name.upper()}"
