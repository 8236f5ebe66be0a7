"""The command line's entry point: which commands there are, and how it ends."""

import sys

import typer

from bitsback.errors import refusals, refuse

from .compress import compress, decompress
from .figure import figure
from .info import info, verify
from .lossy import app as lossy
from .models import models, sample
from .rates import bench, rate
from .train import download, train

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Lossless image compression with latent variable models, by bits-back coding.",
)
# In the order of the help.
for command in (
    figure,
    compress,
    decompress,
    verify,
    info,
    rate,
    models,
    train,
    sample,
    download,
    bench,
):
    app.command()(command)
app.add_typer(lossy, name="lossy")


def main() -> None:
    """Run the command line; what bitsback refuses is one sentence and exit code 2."""
    try:
        with refusals():
            app()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        refuse(f"{where}{(error.strerror or str(error)).lower()}")
    except MemoryError:
        refuse("not enough memory: code fewer images at once with --chunk")
    except KeyboardInterrupt:
        print("bitsback: interrupted", file=sys.stderr)
        sys.exit(130)
