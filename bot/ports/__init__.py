"""What the inner rings need of the outer ones: ports, and the values that pass through them."""
