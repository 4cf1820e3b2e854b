"""The executable specification of the IPython Parallel protocol.

Everything here is pure: bytes and events in, bytes and events out. No module opens a socket, reads a clock, or draws
a random number, so the same definitions serve the conformance suite, the simulator and the real implementation.
"""
