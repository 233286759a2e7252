"""The style, the script and the icon of the pages, and the health of the process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from console.web.state import State
from console.web.visit import Fields, NotFound

_FOLDER: Final = Path(__file__).parent.parent / "static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static(_state: State, request: Request, _form: Fields) -> Response:
    """Return a file of the pages. Raises NotFound."""
    found = _files().get(request.path_params["name"])
    if found is None:
        raise NotFound("The console has no such file.")
    content, media_type = found
    return Response(content, media_type=media_type)


def health(_state: State, _request: Request, _form: Fields) -> Response:
    """Say that the process answers. Redis is no part of that."""
    return PlainTextResponse("ok\n")


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    files = [file for file in _FOLDER.iterdir() if file.suffix in _TYPES]
    return {file.name: (file.read_bytes(), _TYPES[file.suffix]) for file in files}
