"""What a network is trained on: captioned clips, and what they are encoded to."""
