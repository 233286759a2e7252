"""The model of a queue, with which the lanes are compared. It knows no Redis, and no link, tail or count of the lanes.

It is a list of events in order of acceptance, and for each key a list of the unfinished ones in the order of the lane.
An event is put into a lane by its rank among those whose waits overlap, else at the end: see `docs/lanes.md`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, NamedTuple

CLOSE_MS = 250  # times of two clients that are closer than this say nothing
STEP_MS = 50  # between the times of a history
LATEST = 9  # as a tie: after every other event of the same time

Outcome = Literal["deliver", "bury", "release", "cool", "keep"]


class Rank(NamedTuple):
    """When an event happened, and how long it waits for earlier ones."""

    at: int  # steps since the first time of the history
    tie: int = 0  # orders equal times
    wait_ms: int = 0
    client: str = "a"


class Offer(NamedTuple):
    """An event that is offered to the queue."""

    message_id: int
    keys: str  # each character is a key
    cools: bool = False
    join: str = ""  # two keys: later events with the first get the second as well
    rank: Rank | None = None
    run: str = ""  # of an event with a cooldown


@dataclass(eq=False)
class Modelled:
    """An accepted event."""

    sequence: int
    keys: frozenset[str]
    accepted_ms: int
    rank: tuple[int, int]  # ms, and what orders equal times
    cools: bool
    cools_early: bool  # from the start
    client: str = ""
    wait_ms: int = 0  # for earlier events; 0 when that wait is over
    is_known: bool = True  # the rank is not forgotten
    delayed: bool = False
    owner: str | None = None  # the claim that owns it
    expired_claims: int = 0  # that ended while they owned it
    finished: str = ""  # deliver | unsent | bury | erase
    empty: bool = False  # erased while a claim owned it
    run: str = ""

    def is_run_mate(self, other: Modelled) -> bool:
        """Whether the two events share their cooldown."""
        return self.cools and other.cools and self.run == other.run != ""

    def forget_rank(self) -> None:
        """Count as late as the acceptance from now on."""
        self.is_known, self.rank = False, (self.accepted_ms, LATEST)


class Model:
    """A queue in memory."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.events: list[Modelled] = []
        self.lanes: dict[str, list[Modelled]] = defaultdict(list)
        self.message_ids: set[int] = set()
        self.joins: dict[str, str] = {}
        self.finished_keys: set[str] = set()  # of the events without a cooldown that finished
        self.cooling_keys: dict[str, str] = {}  # of those with a cooldown, with the run of the last one
        self.reordered = 0

    # What holds now

    def event(self, sequence: int) -> Modelled:
        """Return the event with this sequence."""
        return self.events[sequence - 1]

    def unfinished(self) -> list[Modelled]:
        """Return these in order of acceptance."""
        return [event for event in self.events if not event.finished]

    def predecessors(self, event: Modelled) -> list[Modelled]:
        """Return the events that are before this one in a lane."""
        return [other for key in event.keys for other in self.lanes[key][: self.lanes[key].index(event)]]

    def is_head(self, event: Modelled) -> bool:
        """Whether the event is the first in each of its lanes."""
        return all(self.lanes[key][0] is event for key in event.keys)

    def is_ready(self, event: Modelled) -> bool:
        """Whether a claim may begin with the event."""
        is_held = event.finished or event.owner or event.delayed or event.wait_ms
        return not is_held and self.is_head(event)

    def may_start_a_claim(self, event: Modelled) -> bool:
        """Of the events with three expired claims, one is claimed at a time."""
        return event.expired_claims < 3 or not any(other.owner and other.expired_claims >= 3 for other in self.events)

    def must_wait(self, event: Modelled) -> bool:
        """Whether a cooldown holds the event when it is the head of its lanes."""
        own = event.run or None
        cooling = any(self.cooling_keys[key] != own for key in event.keys & self.cooling_keys.keys())
        return cooling or (event.cools and bool(event.keys & self.finished_keys))

    def owned(self, claim_id: str) -> list[Modelled]:
        """Return the events of a claim."""
        return [event for event in self.events if event.owner == claim_id]

    def figures(self) -> dict[str, int]:
        """Return what `lanes.stats` must say."""
        unfinished = self.unfinished()
        claimed = [event for event in unfinished if event.owner]
        heads = [event for event in unfinished if not event.owner and self.is_head(event)]
        delayed = sum(bool(event.delayed or event.wait_ms) for event in heads)
        ends = [event.finished for event in self.events]
        return {
            "waiting": len(unfinished),
            "claimed": len(claimed),
            "delayed": delayed,
            "ready": len(heads) - delayed,
            "blocked": len(unfinished) - len(claimed) - len(heads),
            "claims": len({event.owner for event in claimed}),
            "dead": ends.count("bury"),
            "accepted_total": len(self.events),
            "reordered_total": self.reordered,
            "buried_total": ends.count("bury"),
            "delivered_total": ends.count("deliver"),
            "unsent_total": ends.count("unsent"),
            "erased_total": ends.count("erase"),
        }

    # Events arrive

    def arrive(self, offers: list[Offer], accepted_ms: int) -> list[str]:
        """Accept the offers in their order, in one call; return the result of each."""
        first = len(self.events)
        results = [self._accept(offer, accepted_ms) for offer in offers]
        for event in self.events[first:]:
            if not (event.wait_ms or event.cools_early):
                event.forget_rank()  # the rank of an event that nothing may go before is not kept
        return results

    def _accept(self, offer: Offer, accepted_ms: int) -> str:
        if offer.message_id in self.message_ids:
            return "duplicates"
        self.message_ids.add(offer.message_id)
        keys, rank = self._with_joins(frozenset(offer.keys)), (accepted_ms, LATEST)
        event = Modelled(len(self.events) + 1, keys, accepted_ms, rank, offer.cools, offer.cools)
        event.run = offer.run if offer.cools else ""
        if offer.rank:
            event.rank = min(self.start_ms + offer.rank.at * STEP_MS, accepted_ms), offer.rank.tie
            event.wait_ms, event.client = offer.rank.wait_ms, offer.rank.client
        else:
            event.is_known = False
        went_before = self._enter(event)
        self.events.append(event)
        event.delayed = self.is_head(event) and self.must_wait(event)
        if offer.join:
            self.joins[offer.join[0]] = offer.join[1]
        self.reordered += went_before
        return "reordered" if went_before else "accepted"

    def _with_joins(self, keys: frozenset[str]) -> frozenset[str]:
        """Return the keys, those they were joined to, and so on."""
        further = keys | {self.joins[key] for key in keys if key in self.joins}
        return keys if further == keys else self._with_joins(further)

    def _may_be_overtaken(self, event: Modelled) -> bool:
        if event.owner or not event.is_known:
            return False
        return bool(event.wait_ms) or (event.cools_early and (event.delayed or not self.is_head(event)))

    def _position(self, event: Modelled, key: str) -> tuple[int, tuple[int, int]]:
        """Return where the event belongs in a lane, and the greatest rank of those that stay before it."""
        lane = self.lanes[key]
        index, greatest = len(lane), (0, 0)
        for at in range(len(lane) - 1, -1, -1):
            other = lane[at]
            if other.rank <= event.rank or not self._may_be_overtaken(other):
                return index, max(greatest, other.rank)
            if other.client == event.client or other.rank[0] - event.rank[0] >= CLOSE_MS:
                index, greatest = at, (0, 0)
            else:
                greatest = max(greatest, other.rank)
        return index, greatest

    def _enter(self, event: Modelled) -> bool:
        """Put an event into its lanes; return whether it goes before another one. Then it waits no longer than that."""
        while True:
            found = {key: self._position(event, key) for key in event.keys}
            greater = [rank for _, rank in found.values() if rank > event.rank]
            if not greater:
                break
            event.rank = min(greater)
        behind = [self.lanes[key][index] for key, (index, _) in found.items() if index < len(self.lanes[key])]
        for other in behind:
            other.delayed = False  # it is due when this one has finished
            event.wait_ms = min(event.wait_ms, other.wait_ms or event.wait_ms)
        for key, (index, _) in found.items():
            self.lanes[key].insert(index, event)
        return bool(behind)

    # Events leave

    def finish(self, event: Modelled, how: str) -> None:
        """Take an event from its lanes. Those that are now the heads may have to wait for a cooldown."""
        lanes = [self.lanes[key] for key in event.keys]
        freed = [lane[1] for lane in lanes if lane[0] is event and len(lane) > 1]
        for lane in lanes:
            lane.remove(event)
        event.finished, event.owner = how, None
        if how != "erase":
            if event.cools:
                self.cooling_keys |= dict.fromkeys(event.keys, event.run)
            else:
                self.finished_keys |= event.keys
        for other in freed:
            if not other.owner and self.is_head(other):
                other.delayed = self.must_wait(other)

    def settle(self, claim_id: str, outcomes: dict[int, Outcome]) -> set[int]:
        """Apply the outcomes to events of a claim; return the sequences that are lost."""
        named = {sequence: outcome for sequence, outcome in outcomes.items() if outcome != "keep"}
        lost = {sequence for sequence in named if self.event(sequence).owner != claim_id}
        finishing = {sequence for sequence in named.keys() - lost if named[sequence] in ("deliver", "bury")}
        while free := [sequence for sequence in finishing if self.is_head(self.event(sequence))]:
            for sequence in sorted(free):
                event = self.event(sequence)
                self.finish(event, "unsent" if event.empty and named[sequence] == "bury" else named[sequence])
            finishing -= set(free)
        lost |= finishing
        for sequence in sorted(named.keys() - lost):
            if named[sequence] in ("release", "cool"):
                self._release(self.event(sequence), named[sequence])
        return lost

    def _release(self, event: Modelled, outcome: Outcome) -> None:
        if outcome == "cool":
            event.cools, event.run = True, ""
        event.delayed = self.is_head(event) and (outcome == "release" or self.must_wait(event))
        if event.owner:
            self._leave(event)

    def _leave(self, event: Modelled) -> None:
        """Let an event and its successors in the claim leave the claim."""
        claim_id, event.owner = event.owner, None
        for other in self.owned(claim_id or ""):
            if event in self.predecessors(other):
                self._leave(other)

    def expire(self, claim_id: str) -> int:
        """End the lease of a claim; return how many events it owned."""
        owned = self.owned(claim_id)
        for event in owned:
            event.owner = None
            event.expired_claims += 1
        return len(owned)

    def erase(self, keys: frozenset[str], before: int) -> dict[int, str]:
        """Erase the events of these keys that were accepted before that sequence; return how, by sequence."""
        how = {}
        for event in [event for event in self.unfinished() if event.keys & keys and event.sequence < before]:
            if not event.owner:
                how[event.sequence] = "removed"
                self.finish(event, "erase")
            elif not event.empty:
                how[event.sequence] = "emptied"
                event.empty = True
        return how

    # Time passes

    def end_delays(self) -> None:
        """End every delay and cooldown, also those of events to come."""
        self.finished_keys, self.cooling_keys = set(), {}
        for event in self.events:
            event.delayed = False

    def end_waits(self, longest_ms: int) -> list[int]:
        """End the waits that are no longer than that; return the sequences of those that are due now."""
        ended = [event for event in self.unfinished() if 0 < event.wait_ms <= longest_ms]
        for event in ended:
            event.wait_ms = 0
        return [event.sequence for event in ended if not event.delayed and self.is_head(event)]

    def forget_ranks(self) -> None:
        """Forget the rank of every event, some time after its wait."""
        for event in self.unfinished():
            event.forget_rank()
