"""What the embedded model can do: tables of what its clips show, by task, setting, schedule and length."""
