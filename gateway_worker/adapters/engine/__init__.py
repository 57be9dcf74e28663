"""Supervises engine processes and speaks the engine contract with them."""
