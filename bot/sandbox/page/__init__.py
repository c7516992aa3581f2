"""The page of the sandbox: chats on the left, a conversation, and what happens behind it."""
