"""`make ha`: failovers and restarts of Redis under load."""
