"""Resources, one subject a file."""
