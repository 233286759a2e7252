"""Short functions for operations, and a workspace that applies operations in order."""

from __future__ import annotations

from typing import Any

from simulator.operations import take_trace
from simulator.options import Options
from simulator.person import Person
from simulator.workspace import Workspace

Json = dict[str, Any]
Who = dict[str, str]

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
DAY_S = 86_400


def identify(who: Who, timestamp: Any = None, **attributes: Any) -> Json:
    at = {} if timestamp is None else {"timestamp": timestamp}
    return {"type": "person", "action": "identify", "identifiers": who, "attributes": attributes} | at


def event(who: Who, name: str = "Bought", **members: Any) -> Json:
    return {"type": "person", "action": "event", "identifiers": who, "name": name} | members


def person(action: str, who: Who, **members: Any) -> Json:
    return {"type": "person", "action": action, "identifiers": who} | members


def merge(primary: Who, secondary: Who) -> Json:
    return {"type": "person", "action": "merge", "primary": primary, "secondary": secondary}


def device(action: str, who: Who, token: str = "t") -> Json:
    return person(action, who, device={"token": token, "platform": "ios"})


def obj(action: str, name: str = "acme", **members: Any) -> Json:
    return {"type": "object", "action": action, "identifiers": {"object_type_id": "1", "object_id": name}} | members


class World:
    """A workspace whose time is set by tests."""

    def __init__(self, **options: Any) -> None:
        self.workspace = Workspace(Options(**options))
        self.now = 1_000_000.0

    def apply(self, *operations: Json) -> None:
        for operation in operations:
            trace = take_trace(operation)
            self.workspace.apply(operation, self.now, trace)

    def find(self, **who: str) -> Person | None:
        return self.workspace.find(who)

    def get(self, **who: str) -> Person:
        found = self.find(**who)
        assert found is not None, f"no person is {who}"
        return found

    @property
    def count(self) -> int:
        return len(self.workspace.people)

    def noted(self, what: str) -> int:
        return self.workspace.counts[what]
