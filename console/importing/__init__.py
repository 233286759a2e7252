"""`segue import`: Segment's JSON of Customer.io destinations as TOML, and the comparison of the two later."""
