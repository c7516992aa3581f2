"""The HTTP server, health and webhooks."""
