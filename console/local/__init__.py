"""`segue up`: every process of a pipeline on this machine, started, watched and stopped."""
