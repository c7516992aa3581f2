"""A strict Bot API and a strict Messages API for tests, demos and benchmarks."""
