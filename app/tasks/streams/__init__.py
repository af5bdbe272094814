"""Live output in Redis or Valkey, for runs on other hosts than the web tier's."""
