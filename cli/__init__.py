"""Talking to a ComfyUI server over HTTP: a client, a command line, a server process, and a demonstration."""
