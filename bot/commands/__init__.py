"""Bot commands as a table; each yields intents and sends nothing itself."""
