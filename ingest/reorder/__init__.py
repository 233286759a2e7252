"""The order in which events happened: the rank of an event, and how late events come."""
