"""Settings: the environment and the configuration file, and the errors for both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings import DEFAULT_DOCUMENT, Settings, SettingsError, injected_variables, read_document
from tests.secrets import secret

DOCUMENTED = Path("docs/settings.md")


def test_every_setting_is_documented_with_its_default_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)

    fields = {
        field.validation_alias or f"SEGUE_{name.upper()}": f"`{float(field.default):g}`"
        if isinstance(field.default, float)
        else "none"
        if field.default is None
        else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }

    assert dict(rows) == fields


def test_a_bad_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_INGEST_PORT", "eighty")
    monkeypatch.setenv("SEGUE_LEASE_S", "0")

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    assert "SEGUE_INGEST_PORT" in str(caught.value)
    assert "'eighty'" in str(caught.value)
    assert "SEGUE_LEASE_S" in str(caught.value)


# What Kubernetes sets in each container for a service `segue-ingest` with one port, and for another, `segue`.
SERVICE_LINKS = {
    "SEGUE_INGEST_SERVICE_HOST": "10.0.0.1",
    "SEGUE_INGEST_SERVICE_PORT": "8080",
    "SEGUE_INGEST_SERVICE_PORT_HTTP": "8080",
    "SEGUE_INGEST_PORT": "tcp://10.0.0.1:8080",
    "SEGUE_INGEST_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "SEGUE_INGEST_PORT_8080_TCP_PROTO": "tcp",
    "SEGUE_INGEST_PORT_8080_TCP_PORT": "8080",
    "SEGUE_INGEST_PORT_8080_TCP_ADDR": "10.0.0.1",
    "SEGUE_PORT": "udp://[fd00::1]:53",
    "SEGUE_SERVICE_HOST": "fd00::1",
}


def test_the_variables_of_a_service_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEGUE_CONSOLE_PORT", "8082")

    settings = Settings.load()

    assert (settings.ingest_port, settings.console_port) == (8080, 8082)
    assert settings.unknown_variables() == []
    assert injected_variables(SERVICE_LINKS) == SERVICE_LINKS.keys()


def test_a_port_that_the_operator_sets_is_none_of_a_service() -> None:
    links = SERVICE_LINKS | {"SEGUE_INGEST_PORT": "9000", "SEGUE_INGEST_PROCESSES": "2"}

    assert links.keys() - injected_variables(links) == {"SEGUE_INGEST_PORT", "SEGUE_INGEST_PROCESSES"}


def test_variables_that_nothing_reads_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    file.write_text('[destinations.a]\nsite_id = "${SEGUE_SITE_ID}"\n')
    for name in ("SEGUE_INGST_PORT", "SEGUE_SITE_ID", "SEGUE_WORKERS_FILE"):
        monkeypatch.setenv(name, str(file))
    monkeypatch.setenv("SEGUE_WORKERS", "1")

    assert Settings(config=file).unknown_variables() == ["SEGUE_INGST_PORT"]


def test_a_variable_may_name_a_file_with_its_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:secret@redis.example:6379/0\n")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_URL_FILE", str(file))

    settings = Settings.load({"REDIS_URL": "redis://of.segue.up"})

    assert settings.redis_url == "redis://:secret@redis.example:6379/0"
    assert settings.secret_files() == [file]
    monkeypatch.setenv("REDIS_URL", "redis://other.example")
    assert Settings.load().redis_url == "redis://other.example"
    assert Settings.load().secret_files() == []


@pytest.mark.parametrize(("content", "fault"), [(None, "No such file"), (b"\xff", "it is not UTF-8")])
def test_a_file_of_a_variable_that_cannot_be_read_is_named(
    content: bytes | None, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))

    with pytest.raises(SettingsError, match=f"REDIS_URL_FILE: {tmp_path}/url cannot be read: {fault}"):
        Settings.load()


def test_texts_take_the_contents_of_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\r\n")
    file = tmp_path / "segue.toml"
    file.write_text(
        f'[destinations.a]\nsite_id = "${{file:key}}"\napi_key = "a${{file:{tmp_path}/key}}"\nother = "${{file:}}"\n'
        '[destinations.a.mapping]\nname = "${file:key}"\n'
    )
    settings = Settings(config=file)

    assert settings.document()["destinations"]["a"] == {
        "site_id": "secret",
        "api_key": "asecret",
        "other": "${file:}",
        "mapping": {"name": "${file:key}"},
    }
    assert settings.secret_files() == [tmp_path / "key", tmp_path / "key"]
    assert settings.literal_references() == ["destinations.a.other"]


def test_a_file_that_a_text_names_and_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    file.write_text('[destinations.a]\nsite_id = "${file:absent}"\n')

    with pytest.raises(SettingsError, match=r"segue.toml: destinations.a.site_id: .*/absent cannot be read: No such"):
        read_document(file)


@pytest.mark.parametrize(
    ("text", "networks"),
    [("10.0.0.1/8, fd00::1", "10.0.0.0/8,fd00::1/128"), ("*", "*"), ("", "")],
)
def test_proxies_are_networks(text: str, networks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_TRUSTED_PROXIES", text)
    assert Settings.load().trusted_proxies == networks
    monkeypatch.setenv("SEGUE_TRUSTED_PROXIES", "proxy.example")

    with pytest.raises(SettingsError, match=r"SEGUE_TRUSTED_PROXIES: must be addresses and networks like 10.0.0.0/8"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "names"),
    [("Console.example.com, b", "console.example.com,b"), ("bücher.example", "xn--bcher-kva.example"), ("", "")],
    ids=["two", "international", "none"],
)
def test_names_of_the_console_are_those_that_browsers_send(
    text: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_CONSOLE_HOSTS", text)
    assert Settings.load().console_hosts == names


@pytest.mark.parametrize("text", ["https://a.example", "a.example:8443", "a b", "a.example,", "a/b", "a..b"])
def test_what_is_no_name_of_a_host_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_CONSOLE_HOSTS", text)

    with pytest.raises(SettingsError, match=r"SEGUE_CONSOLE_HOSTS: must be host names like console.example.com"):
        Settings.load()


_NO_ADDRESSES = (
    "events.example.com", "ftp://a.example", "https://", "https://u:p@a.example", "https://a/?b", "not a url",
    "https://a/#b", "https://a:port", "https://a:99999", "https://[::1", "http://xn--a.example", "http://a..b",
    f"http://{'a' * 70}", "http://a b", "http://a\n", "",
)  # fmt: skip


@pytest.mark.parametrize("url", _NO_ADDRESSES)
def test_the_address_of_the_track_api_is_checked_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (
        "http://127.0.0.1:8090",
        "https://track-eu.customer.io/",
        "http://[::1]:80",
        "http://m\u00fc.example",
    ):
        monkeypatch.setenv("SEGUE_TRACK_URL", address)
        assert Settings.load().track_url == address
    monkeypatch.setenv("SEGUE_TRACK_URL", url)

    with pytest.raises(SettingsError, match=r"SEGUE_TRACK_URL: .*must be like https://"):
        Settings.load()


@pytest.mark.parametrize(
    "url", ["events.example.com", "ftp://a.example", "https://", "https://u:p@a.example", "https://a/?b"]
)
def test_a_public_address_is_a_url_to_which_paths_can_be_added(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_PUBLIC_URL", "https://events.example.com:8443/segment/")
    assert Settings.load().public_url == "https://events.example.com:8443/segment/"
    monkeypatch.setenv("SEGUE_PUBLIC_URL", url)

    with pytest.raises(SettingsError, match=r"SEGUE_PUBLIC_URL: .*must be like https://events.example.com"):
        Settings.load()


def test_without_a_file_there_is_one_source_and_one_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGUE_CONFIG", raising=False)

    assert Settings.load().document() == DEFAULT_DOCUMENT


def test_texts_take_values_from_the_environment_but_mappings_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", secret("site_id"))
    file = tmp_path / "segue.toml"
    file.write_text(
        '[destinations.a]\nsite_id = "${KEY}"\nlist = ["x${KEY}"]\n[destinations.a.mapping]\nname = "${KEY}"\n'
    )

    assert read_document(file)["destinations"]["a"] == {
        "site_id": secret("site_id"),
        "list": [f"x{secret('site_id')}"],
        "mapping": {"name": "${KEY}"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[destinations", "is not TOML"),
        ("a = " + "[" * 5000, "must have at most 250 levels"),
        ("a = " + "[" * 300 + "]" * 300, "must have at most 250 levels"),
        ("a = 99999999999999999999", "must have at most 250 levels, and integers of 64 bits"),
        ('[destinations.a]\nsite_id = "${NOT_SET_ANYWHERE}"', "destinations.a.site_id: the environment variable"),
    ],
    ids=["syntax", "open lists", "lists", "integer", "variable"],
)
def test_a_bad_file_is_an_error_with_the_key_and_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(text)

    with pytest.raises(SettingsError, match=re.escape(message)):
        read_document(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_document(tmp_path / "none.toml")


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    file.write_text("[destinations.a]\nsite_id = 's'\n", encoding="utf-8-sig")

    assert read_document(file) == {"destinations": {"a": {"site_id": "s"}}}


@pytest.mark.parametrize("location", ["s3://bucket", "s3://bucket/a/b?region=eu-central-1"])
def test_a_ledger_may_be_in_an_object_store(location: str) -> None:
    assert Settings(ledger_dir=location).ledger_location == location


def test_a_ledger_in_a_directory_has_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings(ledger_dir="ledger").ledger_location == str(tmp_path / "ledger")


@pytest.mark.parametrize(
    "location",
    ["s3://", "s3:///prefix", "s3://key:secret@bucket/prefix", "gs://bucket/a", "s3://büro", "s3://b/a b"],
)
def test_a_place_where_no_ledger_can_be_is_refused(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_LEDGER_DIR", location)

    with pytest.raises(SettingsError, match="SEGUE_LEDGER_DIR: must be a directory or s3://BUCKET/PREFIX") as refused:
        Settings.load()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["SEGUE_CONFIG", "SEGUE_DATA_DIR", "SEGUE_SPILL_DIR", "SEGUE_LEDGER_DIR", "SEGUE_ANALYTICS_JS"]
)
def test_an_empty_path_is_not_the_working_directory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    with pytest.raises(SettingsError, match=f"{name}: must not be empty; unset it, or name a path"):
        Settings.load()
