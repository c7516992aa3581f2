"""The kit's Valkey under the names that tests had for it; goes when no test imports it."""

from simulators.testing.valkey import Valkey, running_valkey

__all__ = ["Valkey", "store"]

store = running_valkey
