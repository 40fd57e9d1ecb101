"""What a cluster of Ray adds to a job: `python dev.py bench cluster`."""
