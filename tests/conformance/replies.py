"""The responses of the HTTP stub of the recordings, and their effects on our results.

`responses` are those to the first, second … request of a subscription; the last one repeats.
"""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any

from mapping import Destination

Json = dict[str, Any]

# Where Node's names of a status differ from Python's.
_NODE_PHRASES = {
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Entity",
}


def applied(results: Json, destination: Destination, responses: list[Json]) -> Json:
    """Return the results with the headers of each request, and with the effects of failed responses."""
    for request in results["requests"]:
        request["headers"] = _headers(destination, has_body="json" in request)
    if responses:
        if "results" in results:
            _reply_all(results, responses)
        elif results["requests"]:
            _reply_one(results, responses[0])
    return results


def _headers(destination: Destination, *, has_body: bool) -> Json:
    headers = {"user-agent": "Segment (Actions)"}
    if has_body:
        headers["content-type"] = "application/json"
    if destination.site_id or destination.api_key:
        credentials = f"{destination.site_id}:{destination.api_key}".encode()
        headers["authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    return headers


def _reply_all(results: Json, responses: list[Json]) -> None:
    for result in results["results"]:
        sent = [request for request in results["requests"] if request["subscription"] == result["subscription"]]
        replies = [responses[min(position, len(responses) - 1)] for position in range(len(sent))]
        errors = [error for error in map(_error, replies) if error is not None]
        if errors:
            result["status"] = "error"
            result["error"] = errors[0]
            result.pop("multistatus", None)
            results["error"] = results["error"] or errors[0]
        elif replies and "multistatus" in result and result["action"] != "createUpdateObject":
            for item in result["multistatus"]:
                if item["status"] == 200:
                    item.update(status=replies[0].get("status", 200), body=replies[0].get("body", {}))


def _reply_one(results: Json, response: Json) -> None:
    error = _error(response)
    if error is None:
        if "result" in results:
            results["result"] = {"status": response.get("status", 200), "data": response.get("body", {})}
        return
    if "ok" in results:
        results["ok"] = False
        message = f"Credentials are invalid: {error.get('status', '')} {error['message']}"
        error = {"class": "Error", "message": message}
    else:
        results["result"] = None
    results["error"] = error


def _error(response: Json) -> Json | None:
    if "network_error" in response:
        return {"class": "TypeError", "message": response["network_error"], "engine_message": True}
    status = response.get("status", 200)
    if 200 <= status < 300:
        return None
    return {"class": "HTTPError", "message": response.get("statusText") or _phrase(status), "status": status}


def _phrase(status: int) -> str:
    try:
        return _NODE_PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return str(status)
