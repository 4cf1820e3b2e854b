"""`python -m conformance.reference`: the controller, where no script is installed on the path."""

import sys

from conformance.cli.controller import controller
from conformance.cli.group import LazyGroup

if __name__ == "__main__":
    group = LazyGroup("conformance.reference", entries={})
    group.add_command(controller)
    group.main(["controller", *sys.argv[1:]])
