"""What `segue lanes` does with single events, and with queues that have no destination."""
