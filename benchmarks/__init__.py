"""Side-by-side measurements. Each file runs alone: `python dev.py bench NAME`."""
