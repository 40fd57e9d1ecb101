"""Pictures and clips of ours that the graphs start from, and the thumbnails of the graphs."""
