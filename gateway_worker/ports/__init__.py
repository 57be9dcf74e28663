"""What the core needs from the outside, as role-named Protocols in domain types."""
