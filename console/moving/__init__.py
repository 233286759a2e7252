"""Moving from another destination: what Segue would send, and the moment at which it takes over."""
