"""JSON Schemas of bodies and queries."""
