"""Events that could not be delivered: recorded with the failure, searched, edited, replayed, moved to files."""
