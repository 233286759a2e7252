"""Everything `mapping` raises.

MappingError
├── ConfigurationError    the TOML tables cannot be used: every fault at once, each naming its key
└── Rejected              one subscription cannot turn one event into an operation; `translate` makes it a Failure
    ├── InvalidPayload    the payload does not fit the action's fields
    ├── InvalidMapping    the mapping itself is wrong: every fault with its path
    ├── FailedDirective   a directive met a value it cannot work with
    ├── FailedLiquid      a Liquid template does not parse or render
    └── EngineFault       the reference's JavaScript engine would have thrown here; only the class is meaningful

Each `Rejected` carries the reference's name for it (`error_class`), its wording and, where it has one, its `status`.
"""

from __future__ import annotations

from collections.abc import Iterable


class MappingError(Exception):
    """The root of the tree above."""


class ConfigurationError(MappingError):
    """The configuration cannot be used; `faults` has one text per fault, and the message is their lines."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Rejected(MappingError):
    """A subscription's mapping or its payload was refused for this event; `str(error)` is what went wrong."""

    error_class = "Error"
    status: int | None = None
    code: str | None = None


class InvalidPayload(Rejected):
    """The human error texts of a payload, joined by a space as the reference joins them."""

    error_class = "AggregateAjvError"
    status = 400


class InvalidMapping(Rejected):
    """The faults of a mapping, in order, each beginning with its path.

    One fault at the root of the mapping is a ValidationError with status 400; any other is part of an AggregateError,
    which has no status.
    """

    def __init__(self, messages: Iterable[str], *, at_root: bool = False) -> None:
        self.messages = tuple(messages)
        self.at_root = at_root
        self.error_class = "ValidationError" if at_root else "AggregateError"
        super().__init__("\n".join(self.messages))


class FailedDirective(Rejected):
    """What the directive says of the value it was given."""


class FailedLiquid(Rejected):
    """A Liquid template that was refused; the class is that of the reference's Liquid engine."""

    def __init__(self, message: str, error_class: str) -> None:
        self.error_class = error_class
        super().__init__(message)


class EngineFault(Rejected):
    """Where the reference dies of its own engine's error; the text is not the engine's."""

    def __init__(self, message: str, error_class: str = "TypeError") -> None:
        self.error_class = error_class
        super().__init__(message)
