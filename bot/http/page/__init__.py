"""The chat page at `/`: static files, served as they are, without a build step."""
