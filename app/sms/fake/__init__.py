"""Stands in for the vendors, to the letter of their protocols, on this machine."""
