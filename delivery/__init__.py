"""One request to Customer.io: prepared from events, packed, sent at the allowed rate, its response read."""
