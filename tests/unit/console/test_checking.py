"""`segue check`: faults show no secret, what is probably not meant, and what each response of Customer.io means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

import mapping
from console import checking
from ingest.access import sources
from settings import Settings
from tests.secrets import CREDENTIALS, WEBHOOK_SECRET, found_in

DESTINATION = mapping.destinations({"destinations": {"one": CREDENTIALS}})["one"]


def test_a_source_without_trust_is_a_warning() -> None:
    destination = CREDENTIALS
    source = {"write_key": "w", "destinations": ["one"]}
    document = {"sources": {"old": source}, "destinations": {"one": destination}}

    assert [warning.partition(":")[0] for warning in checking.warnings(document)] == ["sources.old.trust"]
    document["sources"]["old"] = source | {"trust": "public"}
    assert checking.warnings(document) == []
    assert "source old (public) → one" in "\n".join(checking.summary(document))


SECRET = "987654321"  # a number, so `tests.search` does not find it
VALID: dict[str, Any] = {
    "sources": {"web": {"write_key": "w", "webhook_secret": WEBHOOK_SECRET, "destinations": ["one"]}},
    "destinations": {"one": CREDENTIALS},
}
SECRETS = [(section, name, key) for section, tables in VALID.items() for name, table in tables.items() for key in table]


@pytest.mark.parametrize("value", [int(SECRET), [SECRET], {"value": SECRET}, [[SECRET]]], ids=repr)
@pytest.mark.parametrize(("section", "name", "key"), [each for each in SECRETS if each[2] != "destinations"])
def test_a_fault_names_the_key_of_a_secret_without_its_value(section: str, name: str, key: str, value: object) -> None:
    table = VALID[section][name] | {key: value}

    found = checking.faults(VALID | {section: {name: table}})

    assert [fault for fault in found if fault.startswith(f"{section}.{name}.{key}: ")]
    assert not [fault for fault in found if SECRET in fault]


@pytest.mark.parametrize("section", ["sources", "destinations"])
def test_a_secret_in_place_of_a_table_is_not_shown(section: str) -> None:
    assert checking.faults(VALID | {section: {"api_key": SECRET}})
    assert not [fault for fault in checking.faults(VALID | {section: {"api_key": SECRET}}) if SECRET in fault]


def test_no_object_shows_a_secret() -> None:
    (source,), destination = sources.sources(VALID), mapping.destinations(VALID)["one"]

    assert "'w'" not in repr(source)
    assert found_in(f"{source!r} {destination!r}".encode()) == set()


def test_what_a_shell_would_replace_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "a$b")
    file = tmp_path / "segue.toml"
    file.write_text(
        '[sources.web]\nwrite_key = "${A:-x}"\nwebhook_secret = "$A"\ndestinations = ["one"]\n'
        '[destinations.one]\nsite_id = "${A}"\napi_key = "5$"\n'
        '[[destinations.one.subscriptions]]\nname = "a"\naction = "trackEvent"\ntrigger = \'event = "$a"\'\n'
        'mapping.name = "$.event"\n'
    )

    warnings = checking.settings_warnings(Settings(config=file))

    assert [warning.partition(":")[0] for warning in warnings] == [
        "sources.web.write_key",
        "sources.web.webhook_secret",
    ]
    assert not [warning for warning in warnings if "$A" in warning or "-x" in warning]


@pytest.mark.parametrize(("mode", "warnings"), [(0o400, 0), (0o440, 0), (0o640, 0), (0o660, 1), (0o444, 1), (0o602, 1)])
def test_a_file_of_a_secret_that_others_may_read_is_a_warning(mode: int, warnings: int, tmp_path: Path) -> None:
    file, key = tmp_path / "segue.toml", tmp_path / "key"
    key.write_text("987654321")
    key.chmod(mode)
    file.write_text('[destinations.a]\nsite_id = "${file:key}"\n')

    found = checking.settings_warnings(Settings(config=file))

    assert len(found) == warnings
    assert all(f"{key}: other users may read or change this secret (mode {mode:04o})" in each for each in found)


def test_the_variable_of_uvicorn_has_no_effect_and_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    assert checking.settings_warnings(Settings()) == [
        "FORWARDED_ALLOW_IPS: is not read; SEGUE_TRUSTED_PROXIES names the proxies"
    ]


def test_a_certificate_that_is_not_verified_is_a_warning() -> None:
    url = "rediss://redis.example?ssl_cert_reqs=none"

    (warning,) = checking.settings_warnings(Settings(REDIS_URL=url))
    assert warning.startswith("REDIS_URL: ")
    assert checking.settings_warnings(Settings()) == []


def answering(status: int, **body: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body))


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("timed out", request=request)


def test_a_proxy_that_cannot_be_used_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker would not start with it."""
    document = {"destinations": {"one": CREDENTIALS, "two": CREDENTIALS}}
    assert checking.sending_faults(document, Settings()) == []

    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:port")

    assert checking.sending_faults(document, Settings()) == ["HTTPS_PROXY: must be like http://proxy.example.com:3128"]


def test_credentials_are_right_when_the_region_is_the_configured_one() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://track.customer.io/api/v1/accounts/region"
        assert request.headers["Authorization"] == httpx.BasicAuth(*CREDENTIALS.values())._auth_header
        return httpx.Response(200, json={"region": "us"})

    assert checking.credentials(DESTINATION, Settings(), httpx.MockTransport(answer)) is None


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        (answering(401), "refuses site_id and api_key"),
        (answering(200, region="eu"), 'in the region "eu", but the configuration says "us"'),
        (answering(503), "answers HTTP 503"),
        (httpx.MockTransport(lambda _: httpx.Response(200, text="<html>")), "did not answer"),
        (httpx.MockTransport(unreachable), "did not answer: timed out"),
    ],
)
def test_any_other_response_is_a_fault(transport: httpx.MockTransport, words: str) -> None:
    fault = checking.credentials(DESTINATION, Settings(), transport)

    assert fault is not None
    assert words in fault
