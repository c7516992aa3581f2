"""What may not go out, and where requests may not go."""
