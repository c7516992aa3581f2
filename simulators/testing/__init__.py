"""A kit for tests of whole hosts: a stage with both simulators, host processes, Valkey servers."""
