"""Spans for OpenTelemetry: one for each request to ingest, and one for each request to Customer.io. Off by default.

A span has a name, a kind, a status and numbers. It has no path, which may contain a write key, and nothing of an event.
The variables `OTEL_*` say where spans go and which are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import metadata
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the extra `otel` may not be installed
    from opentelemetry.trace import Span, Tracer

    from metrics.figures import Role

Traces = Literal["none", "otlp"]


def tracer_of(role: Role, traces: Traces) -> Tracer | None:
    """Return what makes the spans of this process; None when they are off. Spans are sent in a thread of its own."""
    if traces == "none":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": f"segue-{role}", "service.version": metadata.version("segue")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("segue")


def received(tracer: Tracer, traceparent: str) -> AbstractContextManager[Span]:
    """Return the span of a request that was received. Its parent is that of the header `traceparent`, if it has one."""
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return tracer.start_as_current_span("ingest", context=parent, kind=SpanKind.SERVER)


def sending(tracer: Tracer, destination: str, items: int) -> AbstractContextManager[Span]:
    """Return the span of a request that is sent, with so many items."""
    from opentelemetry.trace import SpanKind

    attributes: Mapping[str, str | int] = {"segue.destination": destination, "segue.items": items}
    return tracer.start_as_current_span("deliver", kind=SpanKind.CLIENT, attributes=attributes)
