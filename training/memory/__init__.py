"""What a run takes in memory, before anything is loaded, and what makes it take less."""
