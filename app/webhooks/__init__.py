"""Tells programs elsewhere what has happened: where it may, signed, and how."""
