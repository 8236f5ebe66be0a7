"""`python -m bitsback.models`: training where only torch, NumPy and safetensors are installed."""

import argparse
from pathlib import Path

from bitsback.errors import BitsbackError, refuse
from bitsback.models.training.run import run


def main() -> None:
    """Train, printing a line every 50 updates."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.models", description=__doc__)
    parser.add_argument("config", type=Path, help="TOML with [model] and [training]")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--start", type=Path, help="a model folder to start from")
    given = parser.parse_args()
    try:
        for progress in run(
            given.config, given.data, given.output, given.device, given.seconds, given.start
        ):
            print(
                f"update {progress.update} of {progress.updates}: "
                f"{progress.rate}, {progress.seconds_left:.0f} s left",
                flush=True,
            )
    except (BitsbackError, OSError) as error:
        refuse(str(error))


if __name__ == "__main__":
    main()
