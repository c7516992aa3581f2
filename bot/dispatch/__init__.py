"""What happens to an accepted update: access, lanes, routes."""
