"""Claims events and delivers them to Customer.io: Celery tasks, deliverers, one claim to its outcomes, leases."""
