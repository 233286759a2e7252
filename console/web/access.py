"""Roles and permissions: who may use which route of the console."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, Self, get_args

Role = Literal["viewer", "operator", "admin"]
Permission = Literal[
    "public",
    "look",
    "find",
    "reveal",
    "test",
    "pause",
    "rate",
    "replay",
    "skip",
    "edit",
    "export",
    "send",
    "purge",
    "import",
    "forget",
    "unsuppress",
]

ROLES: Final[tuple[Role, ...]] = get_args(Role)  # each may do what those before it may
# The least role of each permission; None: no role is needed.
_LEAST: Final[dict[Permission, Role | None]] = {
    "public": None,  # signing in, the files of the pages, and the health of the process
    "look": "viewer",
    "find": "viewer",
    "reveal": "operator",
    "test": "operator",
    "pause": "operator",
    "rate": "operator",
    "replay": "operator",
    "skip": "operator",
    "edit": "operator",
    "export": "operator",
    "send": "admin",
    "purge": "admin",
    "import": "admin",
    "forget": "admin",
    "unsuppress": "admin",
}
# What only reads, although identities go by POST. SEGUE_CONSOLE_READ_ONLY takes all other permissions from all roles.
_READS: Final[frozenset[Permission]] = frozenset({"public", "look", "find", "reveal", "test"})
CHANGES: Final[frozenset[Permission]] = frozenset(_LEAST) - _READS


@dataclass(frozen=True, slots=True)
class User:
    """Who visits the console. `may_change`: false when the console is read-only."""

    name: str
    role: Role
    may_change: bool = True
    is_revealing: bool = False  # identities and contents are shown to this user

    def may(self, permission: Permission) -> bool:
        """Whether the role has the permission, and the console is not read-only for it."""
        least = _LEAST[permission]
        if least is None:
            return True
        has_role = ROLES.index(self.role) >= ROLES.index(least)
        return has_role and (self.may_change or permission not in CHANGES)

    def revealing(self) -> Self:
        """Return the same user, who sees identities and contents if the role may see them."""
        return replace(self, is_revealing=self.may("reveal"))


def strongest(roles: set[Role]) -> Role | None:
    """Return the role that may most; None of none."""
    return max(roles, key=ROLES.index, default=None)
