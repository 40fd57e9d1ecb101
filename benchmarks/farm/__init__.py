"""What a batch on many GPUs loses to starts, failures, lost machines and slow cards: a simulation, with measured overheads."""
