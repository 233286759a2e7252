"""REDIS_URL: a bad one is one line without the password, for every command; what Celery gets of a good one."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from lanes.server.redis_url import (
    address,
    broker_settings,
    checked_url,
    cluster_of,
    sentinels,
    socket_url,
    verifies_certificate,
    without_credentials,
)
from settings import Settings
from tests.secrets import found_in, secret
from tests.unit.console.conftest import set_up
from tests.unit.console.test_cli import main

__all__ = ["set_up"]
pytestmark = pytest.mark.usefixtures("set_up")

PASSWORD = secret("redis_password")
BAD = {
    "": "must begin with redis://, rediss:// or unix://",
    f"http://:{PASSWORD}@127.0.0.1:6379": "must begin with redis://, rediss:// or unix://",
    f"sentinel://:{PASSWORD}@127.0.0.1:26379": "must begin with redis://, rediss:// or unix://",
    f"REDIS://:{PASSWORD}@127.0.0.1": "must begin with redis://, rediss:// or unix://",
    f"redis://:{PASSWORD}@127.0.0.1:port/0": "must be like redis://host:port/number",
    f"redis://:{PASSWORD}@127.0.0.1:99999/0": "must be like redis://host:port/number",
    f"redis://:{PASSWORD}/@127.0.0.1:6379/0": "must be like redis://host:port/number",
    f"redis://:12/{PASSWORD}@127.0.0.1:6379/0": "must be like redis://host:port/number",
    f"redis://:{PASSWORD}#@127.0.0.1:6379/0": "must be like redis://host:port/number",
    f"redis://:12?{PASSWORD}@127.0.0.1:6379/0": "must be like redis://host:port/number",
    f"rediss://:{PASSWORD}[@127.0.0.1:6379/0": "must be like rediss://host:port/number",
    f"redis://:{PASSWORD}@127.0.0.1/journeys": "must be like redis://host:port/number",
    f"unix://:{PASSWORD}@/": "must be like unix:///path",
    "unix://tmp/redis.sock": "must be like unix:///path",
    f"redis+sentinel://:{PASSWORD}@127.0.0.1:26379": "must be like redis+sentinel://host:port,host:port/service/number",
    f"redis+sentinel://:{PASSWORD}@a:1,b:port/segue/0": "must be like redis+sentinel://host:port,host:port/service/",
    f"redis+sentinel://:{PASSWORD}@a:1,,b:2/segue/0": "must be like redis+sentinel://host:port,host:port/service/",
    f"rediss+sentinel://:{PASSWORD}@a:1/segue/x": "must be like rediss+sentinel://host:port,host:port/service/number",
    f"redis+sentinel://:{PASSWORD}@a:1/segue/0?socket_timeout=x": "the option socket_timeout cannot be used",
    f"redis+cluster://:{PASSWORD}@a:1,b:port": "must be like redis+cluster://host:port,host:port; in a user",
    f"redis+cluster://:{PASSWORD}@a:1,b:2/1": "must be like redis+cluster://host:port,host:port; in a user",
    f"rediss+cluster://:{PASSWORD}@a:1,,b:2": "must be like rediss+cluster://host:port,host:port; in a user",
    f"redis+cluster://:{PASSWORD}@a:1?db=1": "the option db cannot be used, or its value is invalid",
    f"redis://:{PASSWORD}@127.0.0.1?socket_timeout=x": "the option socket_timeout cannot be used, or its value",
    f"redis://:{PASSWORD}@127.0.0.1?colour=red": "the option colour cannot be used, or its value is invalid",
    f"redis://:{PASSWORD}@127.0.0.1?decode_responses=true": "the option decode_responses cannot be used",
    f"redis://:{PASSWORD}@127.0.0.1?ssl_cert_reqs=none": "the option ssl_cert_reqs cannot be used",
    f"rediss://:{PASSWORD}@127.0.0.1?ssl_cert_reqs=perhaps": "the option ssl_cert_reqs cannot be used, or its value",
}
COMMANDS = [
    ["status"],
    ["up"],
    ["ingest"],
    ["worker"],
    ["simulator"],
    ["check"],
    ["test", "pyproject.toml"],
    ["forget", "--user-id", "1"],
    ["unsuppress", "--user-id", "1"],
    ["receipts"],
    ["lanes", "show", "id:1"],
    ["lanes", "configure"],
    ["lanes", "verify"],
    ["dead", "list"],
    ["dead", "show", "1"],
    ["dead", "edit", "1"],
    ["dead", "replay", "--all"],
    ["dead", "replays"],
    ["dead", "cancel", "1"],
    ["dead", "skip", "1"],
    ["dead", "purge"],
    ["dead", "export"],
    ["dead", "import", "pyproject.toml"],
    ["dead", "stats"],
]


@pytest.mark.parametrize(("url", "fault"), BAD.items(), ids=map(str, range(len(BAD))))
def test_a_bad_url_is_one_line_without_the_password(
    url: str, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    assert main(["status"], monkeypatch) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"segue: REDIS_URL: {fault}")
    assert found_in(line.encode()) == set()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_starts_with_a_bad_url(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{PASSWORD}/@127.0.0.1:6379/0")
    if command[0] == "test":
        monkeypatch.setattr("console.tester.read_event", lambda _: {})

    assert main(command, monkeypatch) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("segue: REDIS_URL: must be like redis://host:port/number")


def test_an_unavailable_redis_is_named_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{PASSWORD}@127.0.0.1:1/0")

    assert main(["status"], monkeypatch) == 2

    error = capsys.readouterr().err
    assert error.startswith("segue: Redis is unavailable: ")
    assert found_in(error.encode()) == set()


def test_celery_does_not_start_with_a_bad_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{PASSWORD}/@127.0.0.1:6379/0")

    started = subprocess.run(
        [sys.executable, "-m", "workers", "beat"], capture_output=True, text=True, timeout=60, check=False
    )

    assert (started.returncode, started.stdout) == (1, "")
    assert started.stderr.startswith("segue: REDIS_URL: must be like")
    assert started.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://127.0.0.1",
        f"redis://user:{PASSWORD}%2F@redis.example:6380/3",
        "redis://[::1]:6379/0?socket_timeout=5&health_check_interval=10",
        "rediss://redis.example/0?ssl_check_hostname=false",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_a_good_url_is_kept(url: str) -> None:
    assert Settings(REDIS_URL=url).redis_url == url
    assert found_in(repr(Settings(REDIS_URL=url)).encode()) == set()


def test_celery_gets_address_database_and_password_and_no_other_option(tmp_path: Path) -> None:
    socket = tmp_path / "a b#c.sock"

    assert [
        broker_settings(url)["broker_url"]
        for url in (
            f"redis://user:{PASSWORD}%2F@redis.example:6380/3?socket_timeout=5",
            f"redis://redis.example?db=2&password={PASSWORD}/",
            f"unix://:{PASSWORD}@/run/redis.sock?db=2",
            socket_url(socket),
        )
    ] == [
        f"redis://user:{PASSWORD}%2F@redis.example:6380/3",
        f"redis://:{PASSWORD}%2F@redis.example/2",
        f"redis+socket://:{PASSWORD}@/run/redis.sock?virtual_host=2",
        f"redis+socket://{tmp_path}/a%20b%23c.sock?virtual_host=0",
    ]


def test_celery_verifies_certificates_unless_the_url_says_not() -> None:
    assert broker_settings("rediss://redis.example")["broker_use_ssl"] == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
    }
    assert broker_settings("rediss://redis.example?ssl_cert_reqs=none")["broker_use_ssl"]["ssl_cert_reqs"] == "none"
    assert "broker_use_ssl" not in broker_settings("redis://redis.example")
    verified = (
        "redis://a",
        "unix:///a",
        "rediss://a",
        "rediss://a?ssl_cert_reqs=none",
        "rediss://a?ssl_cert_reqs=optional",
    )
    assert [verifies_certificate(checked_url(url)) for url in verified] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("redis://:secret@h:6380/2", "redis://h:6380/2"),
        ("rediss://user:secret@h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("unix://:secret@/run/redis.sock?db=1&password=secret&username=a", "unix:///run/redis.sock?db=1"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_a_url_is_recorded_without_credentials(url: str, bare: str) -> None:
    assert without_credentials(url) == bare


SENTINEL_URL = (
    "redis+sentinel://us%3Aer:p%40ss@s1:26379,[::1]:26380/segue/2?health_check_interval=3&sentinel_password=q"
)


def test_a_url_of_sentinels_names_them_their_service_and_the_primary() -> None:
    found = sentinels(checked_url(SENTINEL_URL))

    assert found is not None
    assert (found.hosts, found.service) == ((("s1", 26379), ("::1", 26380)), "segue")
    assert found.node == "redis://us%3Aer:p%40ss@s1:26379/2?health_check_interval=3"
    assert found.credentials == {"password": "q"}
    assert sentinels("redis://127.0.0.1/0") is None


def test_celery_gets_the_sentinels_and_their_service() -> None:
    assert broker_settings(SENTINEL_URL) == {
        "broker_url": "sentinel://us%3Aer:p%40ss@s1:26379;sentinel://us%3Aer:p%40ss@[::1]:26380/2",
        "broker_transport_options": {"master_name": "segue", "sentinel_kwargs": {"password": "q"}},
    }


def test_celery_verifies_the_certificates_of_sentinels_and_of_the_primary() -> None:
    found = broker_settings("rediss+sentinel://s1:26379/segue")

    verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    assert found["broker_use_ssl"] == verified
    assert found["broker_transport_options"]["sentinel_kwargs"] == {"ssl": True} | verified
    assert verifies_certificate("rediss+sentinel://s1:26379/segue")
    assert not verifies_certificate("rediss+sentinel://s1:26379/segue?ssl_cert_reqs=none")


def test_what_people_see_of_sentinels_has_no_credentials() -> None:
    assert address(SENTINEL_URL) == "redis+sentinel://s1:26379,[::1]:26380/segue/2"
    assert without_credentials(SENTINEL_URL) == f"{address(SENTINEL_URL)}?health_check_interval=3"


CLUSTER_URL = "redis+cluster://us%3Aer:p%40ss@n1:7000,[::1]:7001,n3?health_check_interval=3"


def test_a_url_of_a_cluster_names_its_nodes() -> None:
    found = cluster_of(checked_url(CLUSTER_URL))

    assert found is not None
    assert found.hosts == (("n1", 7000), ("::1", 7001), ("n3", 6379))
    assert found.node == "redis://us%3Aer:p%40ss@n1:7000?health_check_interval=3"
    assert address(CLUSTER_URL) == "redis+cluster://n1:7000,[::1]:7001,n3"
    assert without_credentials(CLUSTER_URL) == f"{address(CLUSTER_URL)}?health_check_interval=3"
    assert not verifies_certificate("rediss+cluster://n1?ssl_cert_reqs=none")
    assert cluster_of("redis://127.0.0.1/0") is None


def test_celery_needs_another_redis_beside_a_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Settings(REDIS_URL=CLUSTER_URL, broker_url="redis://b/1").broker() == {"broker_url": "redis://b/1"}
    assert Settings(REDIS_URL="redis://a/0", broker_url="redis://b/1").broker() == {"broker_url": "redis://b/1"}
    for broker, fault in (
        (None, "is not set; Celery cannot use a Redis Cluster: name a small Redis for its wake-ups"),
        (f"redis+cluster://:{PASSWORD}@n1:7000", "must not name a Redis Cluster: Celery cannot use it"),
        (f"redis://:{PASSWORD}/@b", "must be like redis://host:port/number; in a user and a password"),
    ):
        monkeypatch.setenv("REDIS_URL", CLUSTER_URL)
        if broker:
            monkeypatch.setenv("SEGUE_BROKER_URL", broker)

        assert main(["status"], monkeypatch) == 2

        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"segue: SEGUE_BROKER_URL: {fault}")
        assert found_in(line.encode()) == set()
