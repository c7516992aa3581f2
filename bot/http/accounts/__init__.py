"""Conversations with the instances of accounts over HTTP: accepted, run as lines, followed."""
