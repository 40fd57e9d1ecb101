"""What the demos of the embedded model are given: the scenes, and their words, pictures and clips as files."""
