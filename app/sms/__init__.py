"""Text messages: who is sent what, by whom, and what became of it."""
