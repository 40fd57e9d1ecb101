"""One call of a network: a timestep for every token, modulation per frame, and the rows of a slice of tokens."""
