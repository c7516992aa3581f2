"""The proof: real processes, real faults, and what they cost. Run `python -m bench.proof`."""
