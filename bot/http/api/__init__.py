"""The HTTP API: the door that every request passes, and the routes behind it."""
