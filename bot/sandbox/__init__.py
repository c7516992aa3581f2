"""The Bot API and the Messages API on loopback, and a page to chat on."""
