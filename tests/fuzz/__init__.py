"""Mutated requests against the real ASGI application, and every event that it accepts through what a worker does."""
