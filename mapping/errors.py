"""The errors of `mapping`.

MappingError
├── ConfigurationError    the TOML tables are invalid: all faults, each naming its key
└── Rejected              a subscription cannot make an operation of an event; `translate` returns it as a Failure
    ├── InvalidPayload    the payload does not fit the fields of the action
    ├── InvalidMapping    the mapping itself is invalid: all faults, each with its path
    ├── FailedDirective   a directive does not accept a value
    ├── FailedLiquid      a Liquid template cannot be parsed or rendered
    └── EngineFault       the JavaScript engine of the reference would throw here; only the class is comparable

Each `Rejected` has the reference's class (`error_class`), its wording and, where there is one, its `status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn


class MappingError(Exception):
    """The base class of the errors above."""


class ConfigurationError(MappingError):
    """The configuration is invalid. `faults` has a text for each fault; the message has a line for each."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Rejected(MappingError):
    """The mapping of a subscription or its payload was refused for an event; `str(error)` is the reason."""

    error_class = "Error"
    status: int | None = None
    code: str | None = None


class InvalidPayload(Rejected):
    """The faults of a payload, joined by spaces as in the reference."""

    error_class = "AggregateAjvError"
    status = 400


class InvalidMapping(Rejected):
    """The faults of a mapping, in order, each beginning with its path.

    A single fault at the root of the mapping is a ValidationError; other faults make an AggregateError.
    """

    def __init__(self, messages: Iterable[str], *, at_root: bool = False) -> None:
        self.messages = tuple(messages)
        self.at_root = at_root
        self.error_class = "ValidationError" if at_root else "AggregateError"
        super().__init__("\n".join(self.messages))


class FailedDirective(Rejected):
    """A directive does not accept its options or a value."""


class FailedLiquid(Rejected):
    """A Liquid template was refused; the class is that of the reference's Liquid engine."""

    def __init__(self, message: str, error_class: str) -> None:
        self.error_class = error_class
        super().__init__(message)


class EngineFault(Rejected):
    """The reference would fail with an error of its JavaScript engine; the text is ours."""

    def __init__(self, message: str, error_class: str = "TypeError") -> None:
        self.error_class = error_class
        super().__init__(message)


class Failing:
    """A part of a mapping that fails for every event: a function of the event that raises `error`."""

    def __init__(self, error: Rejected) -> None:
        self.error = error

    def __call__(self, _event: Any) -> NoReturn:
        raise self.error.with_traceback(None)
