"""Golden references: the pictures a recipe's questions compare with, files beside it, named by their hashes.

Knows files and recipes; shows pictures to nobody.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np

from lineside.daemon.recipes.load import LoadedRecipe
from lineside.daemon.recipes.sight import GoldenFile
from lineside.daemon.values import Picture
from lineside.daemon.yamlfile import BadFile, Problem


def load_goldens(loaded: LoadedRecipe) -> dict[str, Picture]:
    """Question id → its golden reference, for those that have one.

    Raises:
        BadFile: a file is missing, is not the one that the recipe means, or is no picture.
    """
    goldens: dict[str, Picture] = {}
    problems: list[Problem] = []
    for index, ask in enumerate(loaded.recipe.ask):
        if ask.golden is None:
            continue
        found = _read(Path(loaded.file).parent / ask.golden.file, ask.golden)
        if isinstance(found, str):
            again = f"make it again with `lineside recipe golden {loaded.file} {ask.id} PICTURE`"
            problems.append(Problem(1, f"ask[{index}].golden", f"{found}: {again}"))
        else:
            goldens[ask.id] = found
    if problems:
        raise BadFile(loaded.file, problems)
    return goldens


def write_golden(loaded: LoadedRecipe, ask: str, picture: Picture) -> GoldenFile:
    """Writes the reference of question `ask` beside its recipe, whole or not at all; gives what to name.

    `picture`: BGR, as it is to be shown. Lossless, so that the engine sees what was cut out.
    """
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} could not be written as image/png")
    content = np.asarray(data).tobytes()
    path = Path(loaded.file).with_name(f"{loaded.recipe.recipe}.{ask}.golden.png")
    staging = path.with_name(f".{path.name}.staging")
    with staging.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staging.rename(path)
    return GoldenFile(file=path.name, sha256=hashlib.sha256(content).hexdigest())


def _read(path: Path, named: GoldenFile) -> Picture | str:
    """The picture, or what is wrong with the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if hashlib.sha256(content).hexdigest() != named.sha256:
        return f"{path} is not the picture that the recipe was made with"
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return f"{path} is not a picture that can be read"
    return np.asarray(image, dtype=np.uint8)
