"""How things are measured: calls side by side, memory at its peak, and the tables that are printed."""
