"""HTTP in front of the host: health."""
