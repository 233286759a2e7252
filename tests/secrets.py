"""Secrets of tests: each has the mark of the run and a name, so that `tests.search` finds it wherever it is.

These are not secret: the write keys of sources that are not of a server, as a page publishes them, and the credentials
of Segue's default document.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Final
from uuid import uuid4

given: Final[set[str]] = set()  # the names of the secrets that this process has used
# Set for the processes that tests start, and for those of pytest-xdist. Another run has another mark.
_RUN: Final = os.environ.setdefault("TEST_RUN", uuid4().hex[:12])
MARK: Final = f"secret{_RUN}"
_NAMED: Final = re.compile(MARK.encode() + rb"-?([a-z_]*)")
_DIGITS: Final = re.compile(rb"[A-Za-z0-9+/]*")
# Base64 of the mark at each place in a group of three bytes, without digits that depend on the bytes beside it too.
_SHARED: Final = (0, 2, 3)
_IN_BASE64: Final = [b64encode(bytes(n) + MARK.encode())[_SHARED[n] : (n + len(MARK)) // 3 * 4] for n in range(3)]

# Options of a Redis whose files are searched: every write is in its file as it was given.
RECORDED: Final = {
    "appendonly": "yes",
    "appendfsync": "no",
    "aof-use-rdb-preamble": "no",
    "auto-aof-rewrite-percentage": "0",
    "rdbcompression": "no",
}


def secret(name: str) -> str:
    """Return the secret of that name, of lower case and `_`: the same one for each call of a run."""
    given.add(name)
    return f"{MARK}-{name}-"


CREDENTIALS: Final[dict[str, Any]] = {"site_id": secret("site_id"), "api_key": secret("api_key")}
OTHER_CREDENTIALS: Final[dict[str, Any]] = {"site_id": secret("other_site_id"), "api_key": secret("other_api_key")}
CREDENTIALS_TOML, OTHER_CREDENTIALS_TOML = (
    "".join(f'{key} = "{value}"\n' for key, value in credentials.items())
    for credentials in (CREDENTIALS, OTHER_CREDENTIALS)
)
PAIRS: Final = [(each["site_id"], each["api_key"]) for each in (CREDENTIALS, OTHER_CREDENTIALS)]
SIMULATOR: Final = {"SIMULATOR_CREDENTIALS": json.dumps(PAIRS)}  # the variable by which a simulator accepts both
WEBHOOK_SECRET: Final = secret("webhook_secret")


def found_in(data: bytes | mmap) -> set[str]:
    """Return the names of the secrets in the data, plain or in base64. A cut one has a cut name."""
    texts: list[bytes | mmap] = [data] if data.find(MARK.encode()) >= 0 else []
    texts += _decoded(data)
    return {match.group(1).decode() for text in texts for match in _NAMED.finditer(text)}


def _decoded(data: bytes | mmap) -> Iterator[bytes]:
    """Yield the mark, and what follows it in base64."""
    for shift, form in enumerate(_IN_BASE64):
        at = data.find(form)
        while at >= 0:
            digits = _DIGITS.match(data, at)
            assert digits is not None
            text = b"AAA"[: _SHARED[shift]] + digits.group()  # the first group is whole
            yield MARK.encode() + b64decode(text[: len(text) // 4 * 4])[shift + len(MARK) :]
            at = data.find(form, digits.end())
