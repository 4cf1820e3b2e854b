"""The reference: the machines of `protocol.roles` on real sockets, one process per role.

`shell` carries out what a role decides, `sockets` opens what the tables of `protocol.channels` say, `supervisor` keeps
the processes of a controller together, `controller`, `engine` and `client` are the parties. Nothing here imports
pytest, hypothesis or rich: what is measured and what users run is the protocol alone.
"""
