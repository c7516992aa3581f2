"""The Messages API on loopback: as strict as the real one, answered by a script."""
