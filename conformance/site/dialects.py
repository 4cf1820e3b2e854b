"""The page that shows the dialects side by side."""

from conformance.site import markdown as md
from protocol.deviations import DEVIATIONS, RELEASE_TITLES, RELEASES
from protocol.dialects import DIALECTS, FEATURES
from protocol.patterns import DIALECTS as NAMES


def page() -> str:
    """The text of the page."""
    return md.page(
        md.heading(1, "Dialects", "dialects"),
        "A dialect is the protocol as it was spoken at one time. A dialect may rename, move or add. It never excuses a "
        "broken promise: a documented request that nobody answers is a violation in every dialect.",
        md.definitions((md.code(each.name), md.prose(f"{each.title}: {each.doc}.")) for each in DIALECTS),
        md.heading(2, "Side by side", "dialects-side-by-side"),
        "A mark in the last column leads to the table of differences below. Rows without a kind are the same in every "
        "dialect, or were not recorded for one of them.",
        md.table(
            ("property", *map(md.code, NAMES), "kind", ""),
            [
                (
                    f"**{each.name}**<br>{md.prose(each.doc)}",
                    *(md.prose("none" if each.value(name) is None else str(each.value(name))) for name in NAMES),
                    each.kind if each.differs else "",
                    ", ".join(md.link(name, f"deviation.{name}") for name in each.deviations),
                )
                for each in FEATURES
            ],
        ),
        md.heading(2, "Documents against ipyparallel 9.2", "dialects-deviations"),
        "What the documents say, and what ipyparallel 9.2 was seen to do. Only a broken promise is a violation.",
        *(
            f"{md.heading(3, f'{each.name}: {each.kind}', f'deviation.{each.name}')}\n"
            + md.definitions(
                [
                    ("Documents", md.prose(each.documents)),
                    ("ipyparallel 9.2", md.prose(f"{each.nine} ({each.evidence})")),
                ]
            )
            for each in DEVIATIONS
        ),
        md.heading(2, "From release to release", "dialects-releases"),
        "An equals sign repeats the value to the left, a dash says that there was no such thing.",
        md.table(
            RELEASE_TITLES,
            [(f"**{md.prose(each.what)}**", *(md.prose(text) for text in each[1:])) for each in RELEASES],
        ),
    )
