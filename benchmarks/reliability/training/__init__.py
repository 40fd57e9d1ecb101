"""A small training run that is killed at every part of its way, or finds the disk full at every write."""
