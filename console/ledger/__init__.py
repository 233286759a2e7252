"""`segue ledger`: the process that writes the ledger, and what reads it in the terminal."""
