"""What is measured and traced of the requests to Customer.io."""
