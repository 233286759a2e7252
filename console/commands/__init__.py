"""The commands that belong to no other package: the processes, the status, the health, and the configuration."""
