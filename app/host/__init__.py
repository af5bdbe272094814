"""How the host is, read from the kernel without starting a process."""
