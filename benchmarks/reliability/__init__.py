"""What hostile inputs and files, kills, long runs and neighbours do to the pack: `python dev.py bench reliability`."""
