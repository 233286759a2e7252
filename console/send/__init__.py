"""`segue send`: history from archives, in the order of its times, to `/v1/import` of an ingest endpoint."""
