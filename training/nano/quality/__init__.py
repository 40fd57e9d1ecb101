"""What clips of the embedded model show, and how many of them show what was asked for."""
