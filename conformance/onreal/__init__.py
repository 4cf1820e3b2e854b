"""The scenarios of the simulator, on real processes: the same functions, the same faults, the same verdict.

* `code`     what engines run: work that takes time, prints, fails or takes its process with it
* `speech`   the same in the language of engines that know nothing of Python, put together of their samples
* `clients`  clients: the Client role on real sockets, asked as scenarios ask
* `engines`  engines: processes of a target, each with a way of its own through the relay
* `parts`    the processes of a controller, found by what they listen to, and the signals that they are sent
* `cluster`  all of that as a `protocol.world.Cluster`, in the time of a clock on the wall
* `faults`   the vocabulary of `simulator.faults`, as signals, raw sockets, and what the relay does to messages
* `strangers` raw sockets for those who are no engine and no client
* `watching` what the relay sees, and whom a fault excuses
* `driven`   clients of a target, behind their drivers
* `kernels`  plain kernels: their scenarios, and a kernel behind a relay
* `run`      one scenario from its start to its verdict; `judging` holds the rules against what the relay saw
* `tour`     many scenarios, and the table of what came of them that the site shows

What this world cannot do (set a clock, lose a disk, start one process of a controller again by itself) raises
`Lacking`, and the scenario is not applicable.
"""
