"""`segue lanes`, `segue pause`, `segue resume` and `segue rate`: queues are looked into and acted on by hand."""
