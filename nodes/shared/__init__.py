"""What several nodes share: input checks, models that loaders keep, clips from VIDEO and IMAGE."""
