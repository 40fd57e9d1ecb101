"""A model that lives in other processes: what is done to it there, and how it gets there."""
