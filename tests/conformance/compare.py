"""Comparison of our results with recorded ones, by the rules in README.md."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def same_result(expected: Json, actual: Json) -> bool:
    """Whether a result of any file equals the expected one."""
    if "steps" in expected:
        return (
            len(expected["steps"]) == len(actual["steps"])
            and all(map(same_result, expected["steps"], actual["steps"]))
            and ("batch" in expected) == ("batch" in actual)
            and ("batch" not in expected or same_result(expected["batch"], actual["batch"]))
        )
    members = expected.keys() | actual.keys()
    return all(_same_member(name, expected, actual) for name in members)


def _same_member(name: str, expected: Json, actual: Json) -> bool:
    if name not in expected or name not in actual:
        return False
    recorded, ours = expected[name], actual[name]
    match name:
        case "requests":
            return len(recorded) == len(ours) and all(map(_same_request, recorded, ours))
        case "results":
            return len(recorded) == len(ours) and all(map(_same_subscription_result, recorded, ours))
        case "error" | "result_error":
            return _same_error(recorded, ours)
    return same(recorded, ours)


def _same_request(expected: Json, actual: Json) -> bool:
    compared = ("subscription", "method", "url", "json", *(("headers",) if "headers" in expected else ()))
    return all(same(expected.get(name), actual.get(name)) for name in compared)


def _same_subscription_result(expected: Json, actual: Json) -> bool:
    if any(expected.get(name) != actual.get(name) for name in ("subscription", "action", "name", "status")):
        return False
    if not _same_statuses(expected.get("multistatus"), actual.get("multistatus")):
        return False
    if not expected.get("engine_message") and expected.get("message") != actual.get("message"):
        return False
    if "payload" in expected and not same(expected["payload"], actual.get("payload")):
        return False
    return ("error" in expected) == ("error" in actual) and _same_error(expected.get("error"), actual.get("error"))


def _same_statuses(expected: Any, actual: Any) -> bool:
    if expected is None or actual is None:
        return expected is actual
    return len(expected) == len(actual) and all(map(_same_status, expected, actual))


def _same_status(expected: Any, actual: Any) -> bool:
    if not isinstance(expected, dict) or not expected.get("engine_message"):
        return same(expected, actual)
    uncompared = {"engine_message", "errormessage"}
    recorded, ours = ({key: item[key] for key in item.keys() - uncompared} for item in (expected, actual))
    return same(recorded, ours)


def _same_error(expected: Any, actual: Any) -> bool:
    if expected is None or actual is None:
        return expected is actual
    if expected.get("engine_message"):
        return True
    return all(
        same(expected.get(name), actual.get(name)) for name in ("class", "message", "messages", "status", "code")
    )


def same(expected: Any, actual: Any) -> bool:
    """Whether JSON values are equal: numbers as doubles, objects in any order; true is not 1."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return float(expected) == float(actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(same(value, actual[key]) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(same, expected, actual))
    return type(expected) is type(actual) and bool(expected == actual)
