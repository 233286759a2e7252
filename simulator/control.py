"""`/_sim/…`: the paths that only a simulator has. Tests read its state there, and set its options and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from simulator.options import ClockChange, Faults, Options
from simulator.response import Response, json_response
from simulator.service import Service

Model = TypeVar("Model", bound=BaseModel)


def control(service: Service, method: str, what: str, body: bytes) -> Response:
    """Return the response to `method /_sim/what`.

    A POST of options or faults replaces all of them: a member that is absent gets its default. An unknown member or an
    invalid value is a 400, `{"errors": ["member: text"]}`, and changes nothing. docs/simulator.md lists the paths.
    """
    service.catch_up()
    match method, what:
        case "GET", "people":
            return json_response({"people": [person.json() for person in service.workspace.people.values()]})
        case "GET", "objects":
            return json_response({"objects": service.workspace.objects.json()})
        case "GET", "journal":
            return json_response({"journal": service.journal})
        case "GET", "activity":
            return json_response({"activity": service.workspace.activity})
        case "GET", "stats":
            return json_response(service.stats())
        case "GET", "seconds":
            return json_response({str(second): count for second, count in service.limit.by_second.items()})
        case "GET", "options":
            return json_response(service.options.model_dump())
        case "GET", "faults":
            return json_response(service.faults.model_dump())
        case "POST", "options":
            return _changed(Options, body, service.set_options)
        case "POST", "faults":
            return _changed(Faults, body, service.set_faults)
        case "POST", "clock":
            return _changed(ClockChange, body, lambda change: _move(service, change))
        case "POST", "reset":
            service.reset()
            return json_response({})
    return json_response({"error": f"there is no {method} /_sim/{what}"}, 404)


def _changed(model: type[Model], body: bytes, change: Callable[[Model], None]) -> Response:
    try:
        value = model.model_validate_json(body or b"{}")
    except ValidationError as error:
        errors = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        return json_response({"errors": errors}, 400)
    change(value)
    return json_response(value.model_dump())


def _move(service: Service, change: ClockChange) -> None:
    if change.virtual is not None:
        service.clock.set_virtual(change.virtual)
    service.clock.advance(change.advance_s)
    service.catch_up()
