"""The benchmark: the host beside what people would write instead, in one run."""
