"""Ready graphs run on random files of the real names, shapes and dtypes: time, RAM and VRAM on the machine that is there."""
