"""What the gateway is about, without any technology: ids, recipients, the session life cycle, errors."""
