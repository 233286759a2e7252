"""How requests and decisions are recorded: entries of the delivery log, and the state of the ledger that takes them."""
