"""Logging, counters, health and supervision."""
