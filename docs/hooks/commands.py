"""Pages of the site that are made when it is built: the reference of all commands."""

from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from bitsback.cli.app import app


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of all commands."""
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands\n",
        "Made from the program; `bitsback COMMAND --help` prints the same. "
        "[Command line](command-line.md) says what the help has no room for.\n",
    ]
    for path, command in _walk("bitsback", root):
        lines += [f"## {path}\n", f"{(command.help or '').strip()}\n"]
        rows = [_row(parameter) for parameter in command.params]
        lines += ["| argument or option | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    if not inner:
        return [(path, command)]
    return [each for name, one in inner.items() for each in _walk(f"{path} {name}", one)]


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in parameter.opts) if is_option else parameter.name
    told = getattr(parameter, "help", None) or ""
    # What a terminal's markup needs, and what ends a table's cell.
    told = told.replace("\\[", "[").replace("|", "\\|")
    default = "required" if parameter.required else parameter.default
    if (
        default in (None, False, ())
        or callable(default)
        or not getattr(parameter, "show_default", 1)
    ):
        default = ""
    return f"| {names} | {told} | {default} |"
