"""The deterministic world: virtual ZeroMQ sockets, virtual time, faults and replay.

Imports only `protocol`; nothing here opens a real socket or reads a real clock.
"""
