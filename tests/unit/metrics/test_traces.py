"""Spans: off by default; one for each request, without anything of an event."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Response, RetryLater
from delivery.telemetry.tracing import traced
from ingest.app import Ingest
from metrics import traces
from settings import Settings, SettingsError

TRACE = "0af7651916cd43dd8448eb211c80319c"
ITEM = Item(1, 0, "trackEvent", "event", "/api/v2/entity", b'{"email":"jo@example.com"}')


class Spans:
    """A tracer that keeps its spans."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = provider.get_tracer("test")

    def only(self) -> ReadableSpan:
        (span,) = self._exporter.get_finished_spans()
        return span


def test_spans_are_off_by_default() -> None:
    assert traces.tracer_of("ingest", Settings().traces) is None


def test_spans_without_their_packages_end_a_process_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_TRACES", "otlp")
    monkeypatch.setattr("settings.find_spec", lambda _: None)

    with pytest.raises(SettingsError, match=r"SEGUE_TRACES.*extra otel"):
        Settings.load()


def test_a_request_to_ingest_is_a_span_of_the_trace_of_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = Spans()
    monkeypatch.setattr(traces, "tracer_of", lambda *_: spans.tracer)
    app = Ingest(Settings())
    headers = [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())]
    scope = {"type": "http", "method": "GET", "path": "/no/such/path", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_: Any) -> None:
        pass

    asyncio.run(app(scope, receive, send))

    span = spans.only()
    assert (span.name, dict(span.attributes or {})) == ("ingest", {"http.response.status_code": 404})
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE


@pytest.mark.parametrize(
    ("outcome", "attributes"),
    [
        (Delivered(), {"segue.items_not_accepted": 0}),
        (
            RetryLater("HTTP 503", Response(503, "jo@example.com")),
            {"segue.items_not_accepted": 1, "http.response.status_code": 503},
        ),
        (RetryLater("no response", Response(None, "jo@example.com")), {"segue.items_not_accepted": 1}),
    ],
)
def test_a_request_to_customer_io_is_a_span(outcome: Outcome, attributes: dict[str, int]) -> None:
    spans = Spans()

    traced(lambda _: [Delivered(), outcome], "journeys", spans.tracer)(Request("/api/v2/batch", (ITEM, ITEM)))

    span = spans.only()
    assert span.name == "deliver"
    assert dict(span.attributes or {}) == {"segue.destination": "journeys", "segue.items": 2, **attributes}
