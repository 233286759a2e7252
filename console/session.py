"""What a command works with: the settings, the connection, the destinations and their queues."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import redis

import lanes
import mapping
from console.errors import CommandError
from console.local import running
from privacy.purge import ErasureContext
from settings import Settings

_TIMEOUT_S, _CONNECT_TIMEOUT_S = 30, 5
# The setting behind each value of a queue that the environment can give.
_SETTING_OF = {"cooldown_ms": "settle_s", "dedupe_s": "dedupe_s", "limit": "queue_limit"}


@dataclass(frozen=True)
class Session:
    """The set-up of one command. It joins the `segue up` on the data directory when REDIS_URL is not set."""

    settings: Settings

    @classmethod
    def join(cls) -> Session:
        """Return the session of this process; raise SettingsError when the environment cannot be used."""
        own = Settings.load()
        return cls(Settings.load(running.environment(own)))

    @cached_property
    def client(self) -> redis.Redis:
        """The connection to Redis."""
        return redis.Redis.from_url(
            self.settings.redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_CONNECT_TIMEOUT_S
        )

    @cached_property
    def destinations(self) -> dict[str, mapping.Destination]:
        """The configured destinations by name."""
        return mapping.destinations(self.settings.document())

    def chosen(self, name: str | None) -> list[str]:
        """Return the destination of this name, or all without one; raise CommandError when there is none."""
        if name is not None and name not in self.destinations:
            raise CommandError(f'there is no destination "{name}"; there are {", ".join(self.destinations)}')
        return list(self.destinations) if name is None else [name]

    def only(self, name: str | None) -> str:
        """Return the destination of this name, or the only one; raise CommandError when there are several."""
        names = self.chosen(name)
        if len(names) != 1:
            raise CommandError(f"say --destination: there are {', '.join(names) or 'none'}")
        return names[0]

    def queue(self, name: str) -> lanes.Queue:
        """Return the queue of a destination; values that the environment does not set are those of the queue.

        Raises lanes.QueueError when the values disagree with the queue, or when another version filled it.
        """
        values = self.settings.queue_config(self.destinations[name].delivery.remember_days)
        stored = lanes.stored_config(self.client, name)
        if stored is not None:
            given = {value for value, setting in _SETTING_OF.items() if setting in self.settings.model_fields_set}
            given |= {"join_s"} if self.settings.config is not None else set()
            values = {field: values[field] if field in given else value for field, value in asdict(stored).items()}
        return lanes.compare_queue(lanes.Queue(client=self.client, name=name, **values))

    def erasure_context(self, name: str) -> ErasureContext:
        """Return what erasing people of a destination needs."""
        return ErasureContext(self.queue(name), self.destinations[name], self.settings.spill_dir)
