"""Vectorised timestep adaptation: levels, loss, LoRA layers and the network as something to train."""
