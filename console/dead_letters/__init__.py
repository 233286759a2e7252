"""`segue dead`: dead letters are listed, edited, replayed, skipped, exported and imported."""
