"""The behaviour of every role, as state machines without I/O; see `base`."""
