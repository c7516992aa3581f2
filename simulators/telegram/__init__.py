"""The Bot API on loopback: one world of bots, people and chats, as strict as the real service."""
