"""The log of every process: which events it has (`events`), how lines are written (`output`), what is summed up."""
