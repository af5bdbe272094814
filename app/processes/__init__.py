"""Running one command: a checked value, the child process, its end."""
