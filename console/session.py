"""The set-up of a command: settings, connection, destinations and queues. Every command gets them from here.

Without REDIS_URL, a command uses the variables that the `segue up` of its data directory has recorded. So it reads the
same queues whatever shell it runs in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import redis

import lanes
import mapping
from console.errors import CommandError
from console.local import running
from lanes.server.connect import connect
from settings import Settings, not_set

if TYPE_CHECKING:
    from privacy.purge import ErasureContext

_CONNECT_S = 5
# Values of a queue: the setting of each, and how many of the value's units are one of the setting's.
_SETTINGS = {"cooldown_ms": ("settle_s", 1000), "dedupe_s": ("dedupe_s", 1), "limit": ("queue_limit", 1)}


@dataclass(frozen=True)
class Session:
    """The set-up of one command."""

    settings: Settings
    joined: Mapping[str, str]  # variables of the `segue up` that the command uses
    patience_s: float = 10.0  # for which Redis may take to answer a command

    @classmethod
    def join(cls) -> Session:
        """Return the session of this process. Raises SettingsError: a variable is invalid."""
        joined = running.environment(Settings.load())
        return cls(Settings.load(joined), joined)

    def environment(self) -> dict[str, str]:
        """Return the environment for a process that has the settings of this session."""
        return {**not_set(self.joined), **os.environ}

    @cached_property
    def client(self) -> redis.Redis:
        """The connection to Redis."""
        return connect(self.settings.redis_url, socket_timeout=self.patience_s, socket_connect_timeout=_CONNECT_S)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The tables of the configuration, read once: a process goes on with them when the file gets a fault."""
        return self.settings.document()

    @cached_property
    def destinations(self) -> dict[str, mapping.Destination]:
        """The configured destinations by name."""
        return mapping.destinations(self.document)

    def chosen(self, name: str | None) -> list[str]:
        """Return the name of the destination, or all names for None. Raises CommandError: there is no such one."""
        if name is not None and name not in self.destinations:
            raise CommandError(f'there is no destination "{name}"; there are {", ".join(self.destinations)}')
        return list(self.destinations) if name is None else [name]

    def only(self, name: str | None) -> mapping.Destination:
        """Return the destination, or the only one for None. Raises CommandError: there is none, or more than one."""
        names = self.chosen(name)
        if len(names) != 1:
            raise CommandError(f"--destination is required: there are {', '.join(names) or 'none'}")
        return self.destinations[names[0]]

    def queue(self, name: str) -> lanes.Queue:
        """Return the queue of a destination. Values that neither the environment nor the file sets are the queue's.

        Raises CommandError: a value that is set differs from the queue's. Raises lanes.OtherLayout.
        """
        return self._agreed(name, self._values(name), lanes.compare_queue)

    def new_queue(self, name: str) -> lanes.Queue:
        """Return the queue of a destination as `queue` does, for a command that may write its first event.

        The values of a new queue are stored: without them, no process would accept what the command writes.
        """
        return self._agreed(name, self._values(name), lanes.open_queue)

    def queues(self, names: Iterable[str]) -> list[lanes.Queue]:
        """Return the queues of several destinations, as `queue` does."""
        return [self.queue(name) for name in names]

    def other_queue(self, name: str) -> lanes.Queue | None:
        """Return a queue without a destination, with its stored values; None when there is none of this name.

        Raises lanes.OtherLayout.
        """
        config = lanes.stored_config(self.client, name)
        if config is None:
            return None
        return lanes.compare_queue(lanes.Queue(client=self.client, name=name, **asdict(config)))

    def all_queues(self, name: str | None) -> list[lanes.Queue]:
        """Return the queue of a destination, configured or not any more; without a name all that this Redis has.

        Raises CommandError: there is no such queue.
        """
        if name is not None:
            other = None if name in self.destinations else self.other_queue(name)
            return [other] if other else self.queues(self.chosen(name))
        names = [each for each in lanes.queue_names(self.client) if each not in self.destinations]
        return self.queues(self.destinations) + [queue for each in names if (queue := self.other_queue(each))]

    def check_queues(self) -> None:
        """Compare the values that a process with these settings uses, its defaults included, with every queue's.

        Raises CommandError: a value differs. Raises lanes.OtherLayout.
        """
        for name in self.destinations:
            self._agreed(name, self._own_values(name), lanes.compare_queue)

    def own_queue(self, name: str) -> lanes.Queue:
        """Return the queue of a destination with the values of the settings, not compared with the stored ones."""
        return lanes.Queue(client=self.client, name=name, **self._own_values(name))

    def erasure_context(self, name: str) -> ErasureContext:
        """Return what the erasure of people at a destination needs."""
        from privacy.purge import ErasureContext

        return ErasureContext(self.new_queue(name), self.destinations[name], self.settings.spill_dir)

    def erasure_contexts(self, name: str | None) -> list[ErasureContext]:
        """Return the same for a destination, configured or not any more; without a name for all queues of this Redis.

        The events of a queue without a destination are read with the presets. Raises CommandError: there is no such
        queue.
        """
        from privacy.purge import ErasureContext

        return [
            self.erasure_context(queue.name)
            if queue.name in self.destinations
            else ErasureContext(queue, _with_presets(queue.name), self.settings.spill_dir, is_configured=False)
            for queue in self.all_queues(name)
        ]

    def _own_values(self, name: str) -> dict[str, int]:
        return self.settings.queue_config(self.destinations[name].delivery.remember_days)

    def _values(self, name: str) -> dict[str, int]:
        own, stored = self._own_values(name), lanes.stored_config(self.client, name)
        if stored is None:
            return own
        explicit = {value for value, (field, _) in _SETTINGS.items() if field in self.settings.model_fields_set}
        if self.settings.config is not None:
            explicit.add("join_s")
        return own | asdict(stored) | {value: own[value] for value in explicit}

    def _agreed(
        self, name: str, values: Mapping[str, int], compare: Callable[[lanes.Queue], lanes.Queue]
    ) -> lanes.Queue:
        try:
            return compare(lanes.Queue(client=self.client, name=name, **values))
        except lanes.QueueMismatch as error:
            settings = [setting_of(name, value, *pair) for value, pair in error.differences.items()]
        differences = ", ".join(f"{setting} is {own} here and {stored} in Redis" for setting, (stored, own) in settings)
        raise CommandError(
            f"destination {name}: {differences}; all processes must use the same value: set it to the one in Redis, "
            "or change that as docs/settings.md describes"
        )


def _with_presets(name: str) -> mapping.Destination:
    """Return a destination of this name to which nothing can be sent."""
    return mapping.destinations({"destinations": {name: {"site_id": "none", "api_key": "none"}}})[name]


def setting_of(destination: str, value: str, *numbers: int) -> tuple[str, list[str]]:
    """Return the setting behind a queue-wide value, and numbers of the value in the setting's unit.

    `setting_of("demo", "cooldown_ms", 50)` is `("SEGUE_SETTLE_S", ["0.05"])`.
    """
    field, units = _SETTINGS.get(value, (None, 86_400))
    setting = f"SEGUE_{field.upper()}" if field else f"destinations.{destination}.delivery.remember_days"
    return setting, [f"{number / units:.12g}" for number in numbers]
