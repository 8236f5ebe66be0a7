"""The notebooks as pages, with the outputs that they have in the repository."""

import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

# Outputs are told from code, and a figure by the heading above it.
_TEMPLATE = """{% extends 'markdown/index.md.j2' %}
{% block stream %}
``` { .text .output }
{{ output.text | strip_ansi }}
```
{% endblock stream %}
{% block data_text scoped %}
``` { .text .output }
{{ output.data['text/plain'] }}
```
{% endblock data_text %}
{% block data_png %}
![{{ cell.metadata.heading }}]({{ output.metadata.filenames['image/png'] | path2url }})
{% endblock data_png %}
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and its figures."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, figures = converted(path)
        files.append(File.generated(config, uri(path.stem), content=text))
        for figure, data in figures.items():
            files.append(File.generated(config, f"notebooks/{figure}", content=data))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to notebooks, as the repository has them, to their pages."""
    return re.sub(r"\(\.\./notebooks/(\w+)\.ipynb\)", lambda m: f"({uri(m[1])})", markdown)


def uri(stem: str) -> str:
    """The page of a notebook."""
    return f"notebooks/{stem.replace('_', '-')}.md"


def converted(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its figures by their names in it."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.language_info = {"name": "python"}
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = next(iter(re.findall("^#+ (.*)", cell.source, re.MULTILINE)), heading)
        cell.metadata.heading = heading.translate({ord(sign): "" for sign in "*[]"})
    exporter = MarkdownExporter(raw_template=_TEMPLATE)
    text, resources = exporter.from_notebook_node(notebook, {"unique_key": path.stem})
    source = f"The notebook is `notebooks/{path.name}` in the repository."
    return f"{text}\n\n{source}\n", resources["outputs"]
