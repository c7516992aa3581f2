"""Menus: messages with buttons that people press to go through what they may see and change."""
