"""The actions, one module each, in display order.

A new action needs a module, a line here, its conformance vectors and a row in docs/configuration.md.
"""

from __future__ import annotations

from typing import Final

from mapping.actions import (
    create_update_device,
    create_update_object,
    create_update_person,
    delete_device,
    delete_object,
    delete_person,
    delete_relationship,
    merge_people,
    report_content_event,
    report_delivery_event,
    suppress_person,
    track_event,
    track_page_view,
    track_screen_view,
    unsuppress_person,
)
from mapping.actions.action import Action, Field
from mapping.operation import Effect

_IN_DISPLAY_ORDER = (
    create_update_person.ACTION,
    create_update_device.ACTION,
    delete_device.ACTION,
    delete_relationship.ACTION,
    delete_person.ACTION,
    delete_object.ACTION,
    track_event.ACTION,
    track_page_view.ACTION,
    track_screen_view.ACTION,
    create_update_object.ACTION,
    merge_people.ACTION,
    suppress_person.ACTION,
    unsuppress_person.ACTION,
    report_delivery_event.ACTION,
    report_content_event.ACTION,
)

ACTIONS: Final[dict[str, Action]] = {action.slug: action for action in _IN_DISPLAY_ORDER}


def effect_of(slug: str) -> Effect:
    """Return the effect of an action by its slug; "report", which has no consequences, when there is no such action."""
    action = ACTIONS.get(slug)
    return "report" if action is None else action.effect


__all__ = ["ACTIONS", "Action", "Field", "effect_of"]
