"""`segue dead`: list, edit, replay and remove dead letters."""
