"""Files that are whole or not there, and what identifies the things that are stored."""
