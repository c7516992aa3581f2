"""Lines, inbox, outbox and transcripts on the Redis protocol."""
