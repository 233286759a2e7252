"""Redis behind TLS: neither its clients nor Celery send anything to a server whose certificate they cannot verify."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from settings import Settings
from tests.conftest import RedisServer

# Prints a line for Celery in a worker, Celery in ingest and the client of Redis: "connected", or why not.
CONNECT = """
import redis
from ingest.queues.wakeups import Wakeups
from workers.app import app, settings

wakeups = Wakeups(settings.broker())
client = redis.Redis.from_url(settings.redis_url)
for connect in (app.connection_for_read().connect, wakeups._celery.connection_for_write().connect, client.ping):
    try:
        connect()
        print("connected")
    except Exception as error:
        print(" ".join(str(error).split()))
"""


class TlsServer:
    """A TLS port in front of Redis. `received` has what its clients sent, decrypted."""

    def __init__(self, redis_url: str, directory: Path) -> None:
        self.certificate = directory / "cert.pem"
        self.received: list[bytes] = []
        self._target = (urlsplit(redis_url).hostname, urlsplit(redis_url).port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        write_certificate(self.certificate)
        self._context.load_cert_chain(self.certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def url(self, options: str = "") -> str:
        return f"rediss://localhost:{self.port}/0{options}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            secured = self._context.wrap_socket(client, server_side=True)
            with secured, socket.create_connection(self._target) as server:
                threading.Thread(target=_copy, args=(server, secured), daemon=True).start()
                while data := secured.recv(65536):
                    self.received.append(data)
                    server.sendall(data)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def write_certificate(file: Path) -> None:
    """Write a self-signed certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def tls(redis_server: RedisServer, tmp_path: Path) -> Iterator[TlsServer]:
    with closing(TlsServer(redis_server.url, tmp_path)) as server:
        yield server


def connections(url: str) -> list[str]:
    """Return what CONNECT prints with this REDIS_URL."""
    environment = os.environ | {"REDIS_URL": url}
    command = [sys.executable, "-c", CONNECT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_unknown_certificate_gets_no_password(tls: TlsServer) -> None:
    lines = connections(tls.url().replace("//", "//:secret@"))

    assert len(lines) == 3
    assert all("certificate verify failed" in line and "secret" not in line for line in lines), lines
    assert tls.received == []


def test_a_certificate_that_the_url_names_is_accepted(tls: TlsServer) -> None:
    assert connections(tls.url(f"?ssl_ca_certs={tls.certificate}&socket_timeout=5")) == ["connected"] * 3
    assert tls.received != []


def test_the_files_of_a_url_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the option ssl_ca_certs: there is no such file"):
        Settings(REDIS_URL=f"rediss://localhost?ssl_ca_certs={tmp_path / 'absent.pem'}")
