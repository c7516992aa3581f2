"""What agents are, and who gets which. Knows nothing of the host."""
