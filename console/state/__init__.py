"""Parts of the state that several commands print."""
