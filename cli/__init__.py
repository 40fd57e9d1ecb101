"""The command line: videos from a shell, made by a ComfyUI server; Merge LoRA; and a demonstration."""
