"""Permissions: what the events of a source may do at Customer.io.

The write key of a public source is in a page or an app, so it is no secret. Its events may not delete, merge or
suppress. The same holds for an element of a webhook's array that the signature does not cover, whatever its source.
"""

from __future__ import annotations

from collections.abc import Mapping

import mapping
from ingest.access import user_hashes
from ingest.access.sources import Source
from ingest.errors import Refusal
from ingest.events import Reception
from mapping import DELETION
from mapping.envelope import JsonObject


class Permissions:
    """The permissions of one source. `destinations` has at least those that it feeds."""

    def __init__(self, source: Source, destinations: Mapping[str, mapping.Destination]) -> None:
        self._may_delete = DELETION in source.may
        self._is_public = source.is_public
        self._identify_secret = source.identify_secret if source.identify == "signed" else None
        # Whether some events of the source that are signed, as all but those of a webhook are, may be refused.
        self.are_limited = self._is_public or self._identify_secret is not None
        self._restrictions = mapping.Restrictions([destinations[name] for name in source.destinations], source.may)

    def check(self, event: JsonObject, reception: Reception) -> None:
        """Raise Refusal (403) for an event that the source may not send; remove the hashes of user ids from the others.

        `event` is completed. An event that one destination would use for a restricted action is refused for all.
        """
        hashes = {} if self._identify_secret is None else user_hashes.take(event)
        if event["type"] == DELETION and reception.origin == "webhook":
            _check_signed(reception)
            return  # Segment passes on the deletion requests of its workspace, which write keys cannot make
        if self._identify_secret is not None:
            user_hashes.check(event, hashes, self._identify_secret)
        if self._is_public or not reception.is_signed:
            self._check_restricted(event, reception)

    def _check_restricted(self, event: JsonObject, reception: Reception) -> None:
        if event["type"] == DELETION:
            if not self._may_delete:
                raise Refusal(403, "type: this source may not send deletion requests", "type")
            return
        action = self._restrictions.action(event)
        if action is not None:
            sender = "this source" if reception.is_signed else "an element that X-Signature does not cover"
            raise Refusal(403, f"the event would run the action {action}, which {sender} may not")


def _check_signed(reception: Reception) -> None:
    if not reception.is_signed:
        raise Refusal(403, "type: a deletion request must be covered by X-Signature", "type")
