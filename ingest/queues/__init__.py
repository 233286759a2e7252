"""Appending events to the queues in Redis: in groups, through faults of Redis, and with wake-ups for workers."""
