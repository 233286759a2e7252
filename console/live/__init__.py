"""The live tail: what passes, as the taps of ingest and workers show it. A page and a command read the same rows."""
