"""What may vanish with the process."""
