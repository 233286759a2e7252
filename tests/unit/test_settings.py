"""Settings: the environment and the configuration file, and the errors for both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings import DEFAULT_DOCUMENT, Settings, SettingsError, read_document

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
    monkeypatch.setenv("KEY", "secret")
    file = tmp_path / "segue.toml"
    file.write_text(
        '[destinations.a]\nsite_id = "${KEY}"\nlist = ["x${KEY}"]\n[destinations.a.mapping]\nname = "${KEY}"\n'
    )

    assert read_document(file)["destinations"]["a"] == {
        "site_id": "secret",
        "list": ["xsecret"],
        "mapping": {"name": "${KEY}"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[destinations", "is not TOML"),
        ('[destinations.a]\nsite_id = "${NOT_SET_ANYWHERE}"', "destinations.a.site_id: the environment variable"),
    ],
)
def test_a_bad_file_is_an_error_with_the_key_and_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(text)

    with pytest.raises(SettingsError, match=re.escape(message)):
        read_document(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_document(tmp_path / "none.toml")
