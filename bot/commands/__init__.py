"""The bot commands of everybody and of admins."""
