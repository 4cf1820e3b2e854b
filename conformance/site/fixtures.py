"""The page about the data files that the kit brings along: recorded logs, vectors, target descriptors."""

from conformance.site import markdown as md
from protocol import recording


def page() -> str:
    """The text of the page."""
    return md.page(
        md.heading(1, "Fixtures", "fixtures"),
        "The kit brings data files along that need no Python to be useful. In a checkout they are in `fixtures/`; the "
        "wheel carries them in `conformance/_data/fixtures/`.",
        md.heading(2, "Recorded logs", "fixtures.logs"),
        "`fixtures/logs/` holds two short logs for every rule: one that the rule accepts, and one that it refuses.",
        md.docstring(recording.__doc__ or ""),
    )
