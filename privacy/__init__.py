"""Privacy requests: a person is erased from every place in Segue, and a receipt is kept."""
