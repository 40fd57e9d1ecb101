"""What training costs beside its forward and backward passes, in time and in memory: `python dev.py bench train`."""
