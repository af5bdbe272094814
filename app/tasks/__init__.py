"""What outlives a request: records, their states, bounded output, the engine."""
