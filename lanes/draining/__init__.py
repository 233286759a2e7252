"""Queues whose destination is no longer configured: found, and moved or discarded."""
