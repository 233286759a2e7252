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
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from lanes.redis_url import broker_settings, checked_url

# The configuration without a file: one source, one destination, and the credentials that the simulator accepts.
DEFAULT_DOCUMENT: dict[str, Any] = {
    "sources": {
        "demo": {"write_key": "demo", "webhook_secret": "demo-secret", "trust": "server", "destinations": ["demo"]}
    },
    "destinations": {"demo": {"site_id": "demo", "api_key": "demo"}},
}

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# `$NAME` and `${NAME:-default}`, which shells replace and this file does not.
_SHELL_REFERENCE = re.compile(r"\$[A-Za-z_]|\$\{(?![A-Za-z_][A-Za-z0-9_]*\})")
# Tables in which `$` has a meaning of its own: paths, triggers and conditions.
_WITH_DOLLARS = ("mapping", "subscriptions", "filters")
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


class Settings(BaseSettings):
    """The environment variables as typed values. Durations are seconds, ports are TCP ports on `host`.

    A field without a `repr` is secret: no text shows its value.
    """

    model_config = SettingsConfigDict(env_prefix="SEGUE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(checked_url)] = Field(
        default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL", repr=False
    )
    config: Path | None = None
    data_dir: Path = Path(".segue")
    host: str = "127.0.0.1"
    ingest_port: int = 8080
    ingest_processes: int = Field(default=1, ge=1)
    max_connections: int = Field(default=10_000, ge=1)
    max_connections_per_address: int | None = Field(default=None, ge=1)
    idle_s: float = Field(default=75.0, gt=0)
    simulator_port: int = 8090
    console_port: int = 8081
    public_url: Annotated[str, AfterValidator(_base_url)] | None = None
    analytics_js: Path | None = None
    workers: int = Field(default=2, ge=1)
    concurrency: int = Field(default=4, ge=1)
    track_url: Annotated[str, AfterValidator(_base_url)] | None = None
    lease_s: float = Field(default=20.0, gt=0)
    retry_base_s: float = Field(default=1.0, gt=0)
    settle_s: float = Field(default=5.0, ge=0)
    sweep_s: float = Field(default=1.0, gt=0)
    spill_dir: Path | None = None
    max_cooldown_s: float = Field(default=30.0, gt=0)
    max_fan_in: int = Field(default=10, ge=1)
    queue_limit: int = Field(default=1_000_000, ge=1)
    dedupe_s: int = Field(default=24 * 3600, ge=1)
    reorder_ms: int | None = Field(default=None, ge=0, lt=10_000)
    reorder_late_s: float = Field(default=60.0, ge=0)

    @classmethod
    def load(cls, joined: Mapping[str, str] = MappingProxyType({})) -> Settings:
        """Return the settings of this process, with the variables `joined` where the environment does not set them.

        Raises SettingsError: a value is invalid; the message names each such variable and its value.
        """
        values: dict[str, Any] = {_field(name): value for name, value in joined.items() if name not in os.environ}
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError("\n".join(map(_described, error.errors()))) from None

    def broker(self) -> dict[str, Any]:
        """Return the settings of Celery that connect it to Redis."""
        return broker_settings(self.redis_url)

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

    def literal_references(self) -> list[str]:
        """Return the keys of the configuration file with `$NAME` or `${NAME:-default}`, which are not replaced."""
        return [] if self.config is None else list(_literal_references(_read(self.config), ""))


def read_document(path: Path) -> dict[str, Any]:
    """Return the tables of the TOML file at `path`.

    `${NAME}` in a string is replaced by the environment variable NAME, except in a table `mapping`.

    Raises SettingsError: the file cannot be read or is not TOML, or a variable is not set.
    """
    return {key: _resolve(value, key, path) for key, value in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not TOML: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


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
        return _REFERENCE.sub(lambda match: _environment(match[1], where, path), value)
    return value


def _environment(name: str, where: str, path: Path) -> str:
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
