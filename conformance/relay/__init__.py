"""What lies between two parties, passes their bytes unchanged, and reads along.

* `zmtp`      the bytes of a connection, decoded: handshake, commands, messages
* `hops`      what is told of a connection: who is at its ends, and the messages that crossed it
* `relay`     the relay itself: ports of its own for every party, and one thread that copies
* `rewriting` rules that drop, repeat, alter or hold messages on their way: faults, and mutants of real implementations
* `streams`   the bytes of a transport, without ZeroMQ
* `files`     the connection files in a folder
* `capture`   what crosses a relay, written down as a recording
* `jury`      the rules, held against such a recording; `report` is what becomes of that on the terminal
"""
