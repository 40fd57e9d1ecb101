"""Model families: which networks take a timestep per latent frame, how it reaches each, their geometry and words."""
