"""Clips: frames and sound, windows of a long video, extension and transitions."""
