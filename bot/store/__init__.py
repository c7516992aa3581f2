"""The Redis protocol: scripts, keys and a line's durable records."""
