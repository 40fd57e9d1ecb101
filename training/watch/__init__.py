"""What shows whether a run learns: the conditional loss on clips that are held out, a table, a plot, trackers."""
