"""Frames that the sampler does not move: on a path of their own, through a table of levels, or noised anew at every step."""
