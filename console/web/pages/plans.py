"""Replays, skips and purges of many dead letters: first a plan with the exact number, then the act, then its progress.

The plan of a replay is a dry run by the workers. The button carries the number of the plan. When it has changed
meanwhile, a new plan is made, and nothing is done.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal

import lanes
from console.dead import listing, replays
from console.errors import CommandError
from console.web import audit_log, choice, masking
from console.web.choice import Choice
from console.web.pages import dead_letters
from console.web.visit import Fields, NotFound, Page, Redirect, Result, Visit, address, number_of
from dead_letters import query
from dead_letters import replay as replaying
from dead_letters.query import Filter

Removal = Literal["skip", "purge"]

_PLAN_PER_S: Final = 5000
_MOST_PER_S: Final = 10_000
_PER_S: Final = 500
_MODES: Final[dict[str, replaying.Mode]] = {"mapped": "mapped", "as_recorded": "as_recorded"}


def history(visit: Visit) -> Result:
    """Show the last replays and dry runs, the newest first."""
    found = replays.history(visit.session.queues(visit.session.chosen(visit.destination)))
    rows = [_json(visit, replay, name) for name, replay in found]
    return Page(template="replays.html", title="Replays", data=rows, command="segue dead replays")


def plan(visit: Visit) -> Result:
    """Begin the dry run of a replay of what the filter of the form matches."""
    queue, chosen = visit.session.queue(visit.named_destination()), choice.of(visit.form, visit.user)
    if chosen.is_all and visit.given("all") != "yes":
        raise CommandError("Name the dead letters: select some, or filter them.")
    planned = _planned(visit, queue, chosen.wanted)
    audit_log.write(visit.session.client, visit.user, "plan", queue.name, filter=audit_log.conditions(chosen.json()))
    return planned


def progress(visit: Visit) -> Result:
    """Show how far a replay or a dry run is; of a finished dry run, what the replay would do."""
    queue, replay = _replay(visit)
    data = _json(visit, replay, queue.name)
    is_plan = replay.mode == "dry_run"
    shown = {
        "row": data,
        "is_plan": is_plan,
        "has_workers": bool(visit.state.figures()["workers"]),
        "result": data if is_plan else None,
        "limit": visit.session.destinations[queue.name].delivery.requests_per_s,
        "per_s": _PER_S,
        "back": address("/dead", destination=queue.name),
    }
    command = "segue dead replays"
    title = "Plan of a replay" if is_plan else "Replay"
    return Page(template="replay.html", title=title, data=data, command=command, shown=shown)


def begin(visit: Visit) -> Result:
    """Begin the replay of a plan, if its number is still right; else make a new plan."""
    queue, planned = _replay(visit)
    mode, per_s = _MODES.get(visit.given("mode")), _rate(visit.given("per_s"))
    if planned.mode != "dry_run" or planned.state != "done" or mode is None:
        raise CommandError("This is no finished plan.")
    count = sum(1 for _ in query.matching(queue, planned.wanted))
    if visit.given("count") != str(count):
        return _planned(visit, queue, planned.wanted, "changed")
    begun = replaying.begin(queue, planned.wanted, who=visit.user.name, per_s=per_s, mode=mode)
    audit_log.write(visit.session.client, visit.user, "replay", queue.name, id=begun.id, count=count, mode=mode)
    return Redirect(f"/replays/{queue.name}/{begun.id}")


def cancel(visit: Visit) -> Result:
    """End a replay; what it has not requeued stays a dead letter."""
    queue, replay = _replay(visit)
    if replay.state != "running":
        raise CommandError(f"It is {replay.state} already. Nothing was changed.")
    replaying.cancel(queue, replay.id)
    audit_log.write(visit.session.client, visit.user, "cancel", queue.name, id=replay.id)
    return Redirect(f"/replays/{queue.name}/{replay.id}?done=cancelled")


def skip_plan(visit: Visit) -> Result:
    """Show how many dead letters a skip would remove, and of which kinds."""
    return _removal_plan(visit, "skip")


def purge_plan(visit: Visit) -> Result:
    """Show how many dead letters a purge would remove, and of which kinds."""
    return _removal_plan(visit, "purge")


def skip(visit: Visit) -> Result:
    """Remove the dead letters that the filter matches, if their number is the one that was typed."""
    return _remove(visit, "skip", "skipped")


def purge(visit: Visit) -> Result:
    """Remove the dead letters that the filter matches, or all, if their number is the one that was typed."""
    return _remove(visit, "purge", "purged")


def _removal_plan(visit: Visit, act: Removal) -> Page:
    queue, chosen = visit.session.queue(visit.named_destination()), _to_remove(visit, visit.query, act)
    kinds = visit.state.groups.of(queue, chosen.wanted)
    count = sum(row["count"] for row in kinds)
    shown = {
        "act": act,
        "destination": queue.name,
        "chosen": chosen,
        "chips": dead_letters.chips(queue.name, chosen, ""),
        "count": count,
        "kinds": dead_letters.most_frequent(kinds),
        "further": dead_letters.further(kinds),
        "back": address("/dead", destination=queue.name, **chosen.fields),
    }
    data = {"destination": queue.name, "count": count, "kinds": kinds}
    command = f"segue dead {act} {chosen.options} --destination {queue.name}".replace("  ", " ")
    title = f"{act.title()} dead letters"
    return Page(template="removal.html", title=title, data=data, command=command, shown=shown)


def _remove(visit: Visit, act: Removal, done: str) -> Redirect:
    queue, chosen = visit.session.queue(visit.named_destination()), _to_remove(visit, visit.form, act)
    count = sum(1 for _ in query.matching(queue, chosen.wanted))
    if visit.given("count").replace(",", "") != str(count):
        raise CommandError(f"The number is {count:,} now. Nothing was {done}; look at the plan again.")
    removed = listing.discard(queue, chosen.wanted)
    conditions = audit_log.conditions(chosen.json())
    audit_log.write(visit.session.client, visit.user, act, queue.name, filter=conditions, count=removed)
    return Redirect(address("/dead", destination=queue.name, done="removed"))


def _to_remove(visit: Visit, fields: Fields, act: Removal) -> Choice:
    """Return what the fields choose; of all dead letters only a purge, with the field `all`. Raises CommandError."""
    chosen = choice.of(fields, visit.user)
    if chosen.is_all and (act == "skip" or fields.get("all") != ["yes"]):
        raise CommandError("Name the dead letters: select some, or filter them.")
    return chosen


def _planned(visit: Visit, queue: lanes.Queue, wanted: Filter, notice: str = "") -> Redirect:
    begun = replaying.begin(queue, wanted, who=visit.user.name, per_s=_PLAN_PER_S, mode="dry_run")
    return Redirect(address(f"/replays/{queue.name}/{begun.id}", done=notice))


def _replay(visit: Visit) -> tuple[lanes.Queue, replaying.Replay]:
    """Return the replay of the address. Raises NotFound."""
    queue = visit.session.queue(visit.named_destination())
    replay = replaying.read(queue, visit.parts["id"])
    if replay is None:
        raise NotFound(f"{queue.name} has no replay with this id. The last {replaying.KEPT} are kept.")
    return queue, replay


def _rate(text: str) -> int:
    number = number_of(text.replace(",", ""), _MOST_PER_S)
    if not number:
        raise CommandError(f"The rate must be a number from 1 to {_MOST_PER_S:,} dead letters per second.")
    return number


def _json(visit: Visit, replay: replaying.Replay, name: str) -> dict[str, Any]:
    """Return the members of `segue dead replays --json`, with the filter and the fields as the user may see them."""
    found = replays.replay_json(replay, name)
    if visit.user.is_revealing:
        return found
    masked: dict[str, Any] = {"filter": audit_log.conditions(dict(found["filter"]))}
    if "changes" in found:
        changes: Counter[str] = Counter()
        for field, count in found["changes"].items():
            changes[masking.text(field)] += count
        masked["changes"] = dict(changes.most_common())
    return found | masked
