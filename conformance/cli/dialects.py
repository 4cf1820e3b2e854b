"""`ippkit dialects`: the dialects of the protocol side by side."""

import click

from conformance.cli.tables import print_json, print_table
from protocol.deviations import DEVIATIONS, RELEASE_TITLES, RELEASES
from protocol.dialects import DIALECTS, FEATURES
from protocol.patterns import DIALECTS as NAMES


@click.command()
@click.option("--only-different", is_flag=True, help="Leave out what is the same in every dialect.")
@click.option("--deviations", is_flag=True, help="Also where the documents and ipyparallel 9.2 differ.")
@click.option("--releases", is_flag=True, help="Also how the protocol changed from release to release.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def dialects(only_different: bool, deviations: bool, releases: bool, as_json: bool) -> None:
    """Show the protocol's dialects side by side.

    A dialect may rename, move or add. What is called a broken promise is a violation in every dialect.
    """
    features = [row for row in FEATURES if row.differs or not only_different]
    if as_json:
        print_json(
            {
                "dialects": [
                    {
                        "name": row.name,
                        "title": row.title,
                        "dictionaries": 4 if row.metadata else 3,
                        "scheme": row.scheme,
                    }
                    for row in DIALECTS
                ],
                "features": [
                    {
                        "name": row.name,
                        "doc": row.doc,
                        "kind": row.kind,
                        "values": {name: row.value(name) for name in NAMES},
                        "source": row.source,
                        "deviations": list(row.deviations),
                    }
                    for row in features
                ],
                "deviations": [row._asdict() for row in DEVIATIONS],
                "releases": [row._asdict() for row in RELEASES],
            }
        )
        return
    print_table(
        "Dialects",
        ("", *NAMES, "kind", ""),
        ((row.name, *map(row.value, NAMES), row.kind if row.differs else "same", row.doc) for row in features),
    )
    if deviations:
        print_table(
            "Documents and ipyparallel 9.2", ("", "kind", "documents", "ipyparallel 9.2", "evidence"), DEVIATIONS
        )
    if releases:
        print_table("Releases", RELEASE_TITLES, RELEASES)
