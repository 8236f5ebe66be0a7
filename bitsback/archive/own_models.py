"""Models by the name of a Python object, `package.module:object`, as the command line takes them.

Such a name comes from the user alone: what a file says of its model is never imported.
"""

import dataclasses
import importlib
import os
import re
import sys

from bitsback.coding.micro_batches import MicroBatches
from bitsback.coding.model import LoadedModel
from bitsback.errors import BitsbackError, InputError, ModelError

_OBJECT = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")


def is_object(name: str) -> bool:
    """Whether a model's name is that of a Python object, and not of a folder or a shipped model."""
    return _OBJECT.fullmatch(name) is not None and not os.path.exists(name)


def load(
    name: str,
    device: str = "auto",
    engine: str = "auto",
    micro_batch: int | None = None,
    sha256: bytes = b"",
) -> LoadedModel:
    """The model that the user names: a Python object, a shipped model, or a folder.

    An object may be a function that gives the model when it is called without arguments. Modules
    are looked for in the working folder, too.

    Args:
        name: `package.module:object`, or as of `store.load`.
        device, engine: as of `store.load`; an object's model has its own.
        micro_batch, sha256: as of `store.load`.

    Raises:
        ModelError: there is no such object, its module fails, or it is no `LoadedModel`; or what
            `store.load` raises.
        InputError: a device, an engine or a micro-batch that the object's model does not take.
    """
    if not is_object(name):
        from bitsback.models import store

        return store.load(name, device, engine, micro_batch, sha256)
    if device != "auto" or engine != "auto":
        raise InputError(f"{name} brings its own device and engine: leave these options out")
    loaded = _found(name)
    if micro_batch is None:
        return loaded
    if loaded.machine:
        raise InputError(f"{name} has batches of its own size: leave the micro-batch out")
    return dataclasses.replace(loaded, model=MicroBatches(loaded.model, micro_batch))


def _found(name: str) -> LoadedModel:
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
        model: object = found() if callable(found) else found
    except BitsbackError:
        raise
    except Exception as error:  # the user's own code, which may fail in any way
        raise ModelError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(model, LoadedModel):
        raise ModelError(
            f"{name} is a {type(model).__name__}: give a bitsback.protocol.LoadedModel, "
            "or a function that returns one"
        )
    return model
