"""The embedded model: its world, its recipe, and how it is measured."""
