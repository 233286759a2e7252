"""What is known of one person: why the events wait, and what was sent made the person at a moment."""
