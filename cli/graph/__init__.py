"""A graph in API format, and a user's settings put into it."""
