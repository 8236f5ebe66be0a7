"""The command line's entry point: which commands there are, and how it ends."""

import atexit
import functools
import gc
import io
import sys
from typing import Annotated

import typer

from bitsback.errors import refusals, refuse

from .compress import compress, decompress
from .contents import get, ls
from .info import info, verify
from .lossy import app as lossy
from .models.figure import figure
from .models.shipped import models, sample
from .models.train import download, train
from .rates import bench, rate
from .view import view


def _tell_version(value: bool) -> None:
    if value:
        from bitsback import __version__

        print(f"bitsback {__version__}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Lossless image compression with latent variable models, by bits-back coding.",
)


@app.callback()
def _bitsback(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="print it and stop"),
    ] = False,
) -> None:
    pass


# In the order of the help.
for command in (
    compress,
    decompress,
    verify,
    info,
    ls,
    get,
    view,
    rate,
    models,
    train,
    sample,
    download,
    bench,
    figure,
):
    app.command()(command)
app.add_typer(lossy, name="lossy")


_INTERRUPTED = "bitsback: interrupted"


@functools.cache
def _prepare_the_end() -> None:
    """Have this process end without delay and, if it is killed, without a warning."""
    # The command line of Python's tracker of semaphores, which removes those that are left.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    # Python would look for garbage among all objects of torch, for half a second.
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command line; what bitsback refuses is one sentence and exit code 2 or 3."""
    _prepare_the_end()
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error does it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with refusals():
            app()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        refuse(f"{where}{(error.strerror or str(error)).lower()}")
    except MemoryError:
        refuse("not enough memory: code fewer images at once with --chunk")
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    except SystemExit as end:  # which Typer makes of Ctrl-C within a command, and says nothing
        if end.code == 130:
            print(_INTERRUPTED, file=sys.stderr)
        raise
