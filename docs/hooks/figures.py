"""Figures fit the page, and a click opens them at their full size: a phone can then zoom in."""

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

_FIGURE = re.compile(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>')


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link each figure that stands by itself to its file."""
    return _FIGURE.sub(r'<p><a class="figure" href="\2">\1</a></p>', content)
