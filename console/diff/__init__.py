"""`segue diff`: what another configuration makes of the same events."""
