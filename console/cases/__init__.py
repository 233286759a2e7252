"""`segue test` with case files: events, and what is expected of them, for continuous integration."""
