"""`segue up`: starts, supervises and stops every process of a pipeline on this machine."""
