"""The result of Segue for a vector, in the form of the vector's `expected`, by public functions of `mapping` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mapping
from mapping import fql
from mapping.errors import Rejected
from mapping.javascript import UNDEFINED
from mapping.reference_results import error_json
from tests.conformance import replies

Json = dict[str, Any]

# 2024-06-01T12:00:00Z, the time of the recordings.
NOW_S = 1717243200.0


def result_of(case: Json) -> Json:
    """Return our result for a vector of any file."""
    return _MODES[_mode_of(case)](case)


def _mode_of(case: Json) -> str:
    if "mode" in case:
        return str(case["mode"])
    if "ast" in case:
        return "fqlgen"
    return next((mode for mode in ("fql", "mapping") if mode in case), "single")


def _run(case: Json, results_at: Callable[[mapping.Destination], Any]) -> Json:
    try:
        destination = mapping.destination_of(case.get("settings"), case.get("subscriptions"))
    except Rejected as error:
        return {"requests": [], "results": [], "settings_error": True, "error": error_json(error)}
    return replies.applied(results_at(destination), destination, case.get("responses", []))


def _single(case: Json) -> Json:
    return _run(case, lambda destination: mapping.event_results(case.get("event", UNDEFINED), destination, NOW_S))


def _batch(case: Json) -> Json:
    return _run(case, lambda destination: mapping.batch_results(case["events"], destination, NOW_S))


def _delete(case: Json) -> Json:
    results = _run(case, lambda destination: mapping.deletion_results(case.get("event"), destination))
    return {"requests": results["requests"], "result": results.get("result"), "error": results["error"]}


def _auth(case: Json) -> Json:
    results = _run(case, mapping.credentials_results)
    return {"requests": results["requests"], "ok": results.get("ok", False), "error": results["error"]}


def _sequence(case: Json) -> Json:
    results: Json = {"steps": [_single({**case, "event": event}) for event in case["events"]]}
    if case.get("also_batch"):
        results["batch"] = _batch(case)
    return results


def _map(case: Json) -> Json:
    event = case.get("event", UNDEFINED)
    try:
        output = mapping.transform(case["mapping"], event, NOW_S)
    except Rejected as error:
        return {"error": error_json(error)}
    return {"output_undefined": True} if output is UNDEFINED else {"output": output}


def _map_batch(case: Json) -> Json:
    try:
        return {"output": mapping.transform_batch(case["mapping"], case["events"], NOW_S)}
    except Rejected as error:
        return {"error": error_json(error)}


def _map_validate(case: Json) -> Json:
    try:
        mapping.validate_mapping(case["mapping"])
    except Rejected as error:
        return {"valid": False, "error": error_json(error)}
    return {"valid": True}


def _fql(case: Json) -> Json:
    try:
        condition = fql.parse(case["fql"])
    except fql.FqlError as error:
        refused: Json = {"valid": False, "error": {"class": "Error", "message": error.message}}
        return {**refused, "result": False} if "event" in case else refused
    results: Json = {"valid": True, "ast": condition.to_ast()}
    return {**results, **_evaluated(condition, case["event"])} if "event" in case else results


def _evaluate(case: Json) -> Json:
    return _evaluated(fql.from_ast(case["ast"]), case["event"])


def _evaluated(condition: fql.Condition, event: Any) -> Json:
    try:
        return {"result": condition.predicate()(event)}
    except fql.FqlError as error:
        return {"result_error": {"class": "TypeError", "message": error.message}}


def _print(case: Json) -> Json:
    try:
        return {"fql": fql.from_ast(case["ast"]).to_fql()}
    except fql.FqlError as error:
        return {"error": {"class": "Error", "message": error.message}}


_MODES: dict[str, Callable[[Json], Json]] = {
    "single": _single,
    "batch": _batch,
    "delete": _delete,
    "auth": _auth,
    "sequence": _sequence,
    "mapping": _map,
    "mapBatch": _map_batch,
    "mapValidate": _map_validate,
    "fql": _fql,
    "fqlgen": _print,
    "astEval": _evaluate,
}
