"""Formulas of the pages, as MathML: a browser shows it without scripts and without a network.

Pages write TeX between dollars, as GitHub shows it, too; pymdownx.arithmatex finds it.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# What arithmatex leaves of a formula.
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the page's formulas into MathML."""

    def mathml(found: re.Match[str]) -> str:
        display = "block" if found["tag"] == "div" else "inline"
        try:
            made = formula(html.unescape(found["tex"]), display)
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from error
        return f'<{found["tag"]} class="formula">{made}</{found["tag"]}>'

    return _FORMULA.sub(mathml, content)


def formula(tex: str, display: str = "inline") -> str:
    """MathML of a formula in TeX.

    Raises:
        ValueError: if the formula has a command that would be shown as it is written.
    """
    made = convert(tex.strip(), display=display)
    # The converter writes what it does not know into the formula.
    if "\\" in made or "<mi>&</mi>" in made:
        raise ValueError(f"the formula cannot be set: {tex.strip()}")
    return made
