"""The site. What follows from the protocol is written into `reference/` at build time, see `reference_pages`."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from conformance import reference_pages

project = "ippkit"
copyright = "the ippkit contributors"  # noqa: A001 (sphinx's name)
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# Quotation marks in texts of the protocol are exact.
smartquotes = False
html_theme = "furo"
html_title = "ippkit"
html_static_path = ["_static"]
html_css_files = ["ippkit.css"]
html_copy_source = False
html_show_sphinx = False


class ExactAnchors(SphinxTransform):
    """Gives a section that has a label exactly this label as its anchor: `#registration.duplicate-uuid-refused`."""

    # After labels were moved to the sections they stand before, and before anything is linked to them.
    default_priority = 270

    def apply(self, **kwargs: object) -> None:  # noqa: ARG002 (docutils' signature)
        """Rename the anchors of one page."""
        for section in self.document.findall(nodes.section):
            for name in section["names"]:
                old = self.document.nameids.get(name)
                if "." in name and old in section["ids"] and old != name:
                    section["ids"].remove(old)
                    section["ids"].insert(0, name)
                    self.document.nameids[name] = name
                    self.document.ids[name] = section


def setup(app: Sphinx) -> None:
    """Write the generated pages before the builder looks for pages."""
    app.add_transform(ExactAnchors)
    app.connect("builder-inited", lambda app: reference_pages.write(Path(app.srcdir) / "reference"))
