"""`tkm import-corrections` of annotations that a test made by hand: pickled, in place of a file of some format."""

from __future__ import annotations

import pickle
from pathlib import Path

from flows import cli, corrections
from storage.annotated import AnnotatedVideo, Format


def read_pickled(path: str, format_: Format | None) -> list[AnnotatedVideo]:
    found: list[AnnotatedVideo] = pickle.loads(Path(path).read_bytes())
    return found


if __name__ == "__main__":
    corrections.read_annotated = read_pickled
    cli.main()
