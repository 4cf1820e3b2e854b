"""From a run that fails to the smallest one that fails in the same way, as a scenario that can be read.

`listening` takes down what is asked of a cluster in a run, whoever asks; `steps` are what it takes down, and can be
carried out again; `changes` make them fewer and simpler; `search` looks for the smallest that still fail; `writing`
makes a scenario of them. Nothing here looks at a clock: whoever searches says when enough was tried.
"""

from simulator.minimise.search import Found, Nearest, NotMinimised, Search, blame_of, nearest
from simulator.minimise.steps import Case, scenario_of
from simulator.minimise.writing import scenario_text

__all__ = [
    "Case", "Found", "Nearest", "NotMinimised", "Search", "blame_of", "nearest", "scenario_of", "scenario_text",
]  # fmt: skip
