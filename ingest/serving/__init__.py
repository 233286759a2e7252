"""How the endpoint is served: its server, its connections and their limits."""
