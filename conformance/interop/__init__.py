"""Real clients, controllers and engines in one cluster, in every combination that must work: `ippkit interop`.

* `ability`    one ability = one function that says what must be true; `ours` and `theirs_*` are the tables
* `rows`       the combinations, and how each party is started
* `traffic`    what crossed the relay between the parties, read; `witness` holds the rules against it
* `blame`      from an ability that failed, and what was seen, to the party that broke a requirement first
* `worker`     the process of the client, in which abilities run; `bench` is the rest of one row
* `matrix`     all rows, and what became of every ability in each

No ability imports ipyparallel outside the process of the client, and nothing that crosses the wire is unpickled here.
"""
