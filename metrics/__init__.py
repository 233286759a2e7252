"""The metrics of every process: which there are (`registry`), how they are counted (`figures`), served (`endpoint`)."""
