"""What the worker tells of itself: its logs."""
