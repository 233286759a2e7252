"""`segue demo`: a sample of events through the whole pipeline, and a check of every resulting person."""
