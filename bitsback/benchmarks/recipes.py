"""How many real PNG files come back byte for byte from their pixels and a recipe.

    python -m bitsback.benchmarks.recipes kodak mcmaster set14

Every PNG below the folders goes through the rule. Then the pixels of the first folder's images are
written anew, at their defaults, by Pillow, by OpenCV, by matplotlib and by ImageMagick, as far as
they are installed, and what these wrote goes through it, too.
"""

import io
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import BitsbackError
from bitsback.images.outcomes import Outcome
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import Rule

Save = Callable[[NDArray[np.uint8]], bytes]


def main(names: list[str]) -> int:
    """A line for each folder and each program; the exit code."""
    if not names or any(not Path(name).is_dir() for name in names):
        print("usage: python -m bitsback.benchmarks.recipes FOLDER...", file=sys.stderr)
        return 2
    for name in names:
        print(line(name, (path.read_bytes() for path in files_of(Path(name)))))
    arrays = [np.asarray(Image.open(path)) for path in files_of(Path(names[0]))]
    for program, save in programs():
        print(line(program, (save(array) for array in arrays)))
    return 0


def files_of(folder: Path) -> list[Path]:
    """The PNG files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")


def line(title: str, files: Iterable[bytes]) -> str:
    """What becomes of files, and how long the rule takes for one."""
    rule, counts, seconds = Rule(), Counter[str](), 0.0
    for data in files:
        began = time.perf_counter()
        try:
            counts[rule.examine(data).outcome.name] += 1
        except NotKept as error:
            counts[str(error)] += 1
        seconds += time.perf_counter() - began
    exact, samples = counts.pop(Outcome.EXACT.name, 0), counts.pop(Outcome.SAMPLES.name, 0)
    number = exact + samples + counts.total()
    carried = "".join(f", {count} {reason}" for reason, count in counts.items())
    return (
        f"{title}: {number} files, {exact} byte for byte, {samples} same samples in other bytes"
        f"{carried}; {1000 * seconds / max(1, number):.0f} ms a file"
    )


def programs() -> Iterator[tuple[str, Save]]:
    """Programs that write PNG, by name and version."""
    yield f"Pillow {import_module('PIL').__version__}", _by_pillow
    try:
        cv2 = import_module("cv2")
        yield f"OpenCV {cv2.__version__}", lambda array: _by_opencv(cv2, array)
    except ImportError:
        print("OpenCV is not installed")
    try:
        pyplot = import_module("matplotlib.image")
        version = import_module("matplotlib").__version__
        yield f"matplotlib {version}", lambda array: _by_matplotlib(pyplot, array)
    except ImportError:
        print("matplotlib is not installed")
    command = shutil.which("magick")  # of version 7
    if command is not None:
        yield "ImageMagick", lambda array: _by_imagemagick(command, array)
    else:
        print("ImageMagick is not installed")


def _by_pillow(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def _by_opencv(cv2: Any, array: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", array[:, :, ::-1] if array.ndim == 3 else array)[1].tobytes()


def _by_matplotlib(image: Any, array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    image.imsave(file, array, format="png")
    return file.getvalue()


def _by_imagemagick(command: str, array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PPM")
    done = subprocess.run(
        [command, "ppm:-", "png:-"], input=file.getvalue(), capture_output=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BitsbackError as error:
        sys.exit(str(error))
