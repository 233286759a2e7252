"""The Redis of the queues: its URL, connections, memory, and whether it is suitable and usable."""
