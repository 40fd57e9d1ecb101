"""A run that can stop and go on: its checkpoints, the files that it leaves on the way, the room that they take."""
