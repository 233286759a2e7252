"""`segue metrics`: the process that serves what Redis has, for Prometheus."""
