"""Drivers of clients: programs that do with a client what they are told in lines of JSON, and tell what came of it.

`lines` has the language that every driver speaks. `ours` drives the reference client, and `theirs` that of ipyparallel:
`python -m conformance.drivers.ours`. What they have in common with a client in virtual time is in `desk`. Only a driver
may load what a client receives; the kit reads nothing but its lines.
"""
