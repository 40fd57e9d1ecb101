"""Talking to a ComfyUI server over HTTP: a client, a server process, and a demonstration."""
