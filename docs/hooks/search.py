"""Which pages a search shows first: what a user looks for, before the reference of the library."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# Factors of Material for MkDocs' search; pages that are not named have 1.
BOOST = {
    "command-line.md": 4.0,
    "commands.md": 3.0,
    "faq.md": 2.0,
    "glossary.md": 2.0,
    "api.md": 0.5,
    "format.md": 0.5,
    "release-notes.md": 0.2,
}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Set the page's weight in a search."""
    page.meta["search"] = {"boost": BOOST.get(page.file.src_uri, 1.0)}
