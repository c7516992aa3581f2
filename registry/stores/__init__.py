"""Where documents live: one storage port, several forms."""
