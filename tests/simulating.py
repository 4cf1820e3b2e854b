"""What tests of `ippkit simulate` share: the command, and a scenario that fails."""

from click.testing import CliRunner, Result

from conformance.cli import main
from protocol.world import Cluster, Work
from simulator.scenarios.scenario import Scenario, ends


def simulate(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["simulate", *arguments])


def fails(cluster: Cluster) -> None:
    """A task that fails and should not."""
    ends(cluster, [cluster.client().submit(Work(fails=True))], status="ok")


PIGS_FLY = Scenario("pigs-fly", fails, 1, frozenset(), True, "What must hold does not.")
