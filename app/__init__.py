"""Bellhop."""
