"""`segue demo`: a sample of events through the whole pipeline, every resulting person compared."""
