"""Model files on a server: what a name stands for, what is missing, and which files a video was made from."""
