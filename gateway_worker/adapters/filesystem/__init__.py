"""Files and folders below the data directory."""
