"""The other side of the wires: an instant Bot API and Messages API, and the loads."""
