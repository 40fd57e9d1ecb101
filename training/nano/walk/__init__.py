"""A walk through training on the embedded model: clips to train on, and a look at what came of it."""
