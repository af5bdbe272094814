"""Figures for the monitoring: what is counted, and how it is shown to who asks."""
