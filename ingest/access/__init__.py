"""Who may send what: sources, their credentials, their rights and their limits."""
