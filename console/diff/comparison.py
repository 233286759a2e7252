"""What two configurations of a destination make of one event, request by request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import mapping
from dead_letters.changes import Change, changes

Kind = Literal["unchanged", "changed", "newly_sent", "no_longer_sent", "newly_refused", "refused_as_before"]
KINDS: Final = ("changed", "newly_sent", "no_longer_sent", "newly_refused")

_PRIVACY_REQUEST = "privacy request"
_SHADOW: Final = mapping.Translation((), (), filtered="a shadow event")


class Difference(NamedTuple):
    """What became of one request. `reason`: why it is refused, or filtered with its event."""

    kind: Kind
    subscription: str
    changes: tuple[Change, ...] = ()
    reason: str | None = None


class _Sent(NamedTuple):
    path: str
    body: Any


class Comparison:
    """Compares the translations of one destination by two configurations."""

    def __init__(self, old: mapping.Destination, new: mapping.Destination) -> None:
        self._old, self._new = old, new
        self._old_names, self._new_names = _names(old), _names(new)

    def of(self, event: Any, now_s: float) -> list[Difference]:
        """Return what becomes of each request that one of the two makes of an event, or refuses to make.

        Requests of subscriptions with one name are compared. An equal request of another name is unchanged: its
        subscription has a new name. An event that is a shadow event of one side alone is not sent there.
        """
        old, new = (mapping.translate(event, destination, now_s) for destination in (self._old, self._new))
        old_is_shadow, new_is_shadow = (_is_shadow(event, each, now_s) for each in (self._old, self._new))
        if old_is_shadow and not new_is_shadow:
            old = _SHADOW
        elif new_is_shadow and not old_is_shadow:
            new = _SHADOW
        if old == new and self._old_names == self._new_names:
            before = [Difference("unchanged", name) for name, _ in _sent(old, self._old_names)]
            return before + [Difference("refused_as_before", failure.name) for failure in old.failures]
        return list(self._compared(old, new))

    def _compared(self, old: mapping.Translation, new: mapping.Translation) -> Iterator[Difference]:
        before, after = list(_sent(old, self._old_names)), list(_sent(new, self._new_names))
        for name, sent in list(before):
            equal = [pair for pair in after if pair[1] == sent]
            if equal:
                same = (name, sent) if (name, sent) in equal else equal[0]
                before.remove((name, sent))
                after.remove(same)
                yield Difference("unchanged", same[0])
        were_refused = {failure.name for failure in old.failures}
        refused = {failure.name: failure.message for failure in new.failures}
        for name, sent in before:
            other = next((pair for pair in after if pair[0] == name), None)
            if other:
                after.remove(other)
                yield Difference("changed", name, tuple(_changes(sent, other[1])))
            elif name in refused:
                yield Difference("newly_refused", name, reason=refused.pop(name))
            else:
                yield Difference("no_longer_sent", name, reason=new.filtered)
        yield from (Difference("newly_sent", name) for name, _ in after)
        for name, message in refused.items():
            yield Difference("refused_as_before" if name in were_refused else "newly_refused", name, reason=message)


def _names(destination: mapping.Destination) -> dict[int, str]:
    return {subscription.index: subscription.name for subscription in destination.subscriptions}


def _is_shadow(event: Any, destination: mapping.Destination, now_s: float) -> bool:
    cutover = destination.cutover
    return cutover is not None and isinstance(event, dict) and cutover.excludes(event, now_s * 1000)


def _sent(translation: mapping.Translation, names: Mapping[int, str]) -> Iterator[tuple[str, _Sent]]:
    for operation in translation.operations:
        yield names.get(operation.subscription, _PRIVACY_REQUEST), _Sent(operation.path, operation.body)


def _changes(old: _Sent, new: _Sent) -> Iterator[Change]:
    if old.path != new.path:
        yield Change("path", old.path, new.path)
    yield from changes(old.body, new.body)
