"""Owning lines: leases, take-over, recovery, rebalancing. Knows no wire."""
