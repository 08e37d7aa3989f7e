"""Numbers of images, which files of COCO's form know frames by.

PoseTrack numbers a frame source x 10^10 + sequence x 10^4 + frame, where the source is 1 for mpii, 2 for bonn and 3 for mpiinew
and the other two are the numbers in the names of folder and picture (leonid-pishchulin/poseval). Sequence numbers of more
than six digits run over into the source, so a number alone does not always tell its frame.

Shape legend: T frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from tkm.datasets.sequence import Sequence
from tkm.types import Int

SOURCES = {"mpii": 1, "bonn": 2, "mpiinew": 3}
# The largest sequence numbers that names of each source have room for.
_SEQUENCES = {"mpii": 10**6, "bonn": 10**9, "mpiinew": 10**6}
_SOURCE_STEP, _SEQUENCE_STEP = 10**10, 10**4
FIRST_OTHER = 2 * 10**13  # above all of PoseTrack's numbers; times 1000 still a 64-bit number
_POSETRACK_NAME = re.compile(r"(\d{1,9})_(mpii|bonn|mpiinew)(?:_|$)", re.ASCII)


def posetrack_image_id(sequence_name: str, frame: int) -> int | None:
    """PoseTrack's number of a frame; None for names that it has no number for, and beyond 9,999 frames.

    Args: sequence_name, '000002_bonn_test'; frame, the number in the picture's name.
    """
    match = _POSETRACK_NAME.match(sequence_name)
    if match is None or not 0 <= frame < _SEQUENCE_STEP:
        return None
    return SOURCES[match[2]] * _SOURCE_STEP + int(match[1]) * _SEQUENCE_STEP + frame


def split_posetrack_image_id(image_id: int) -> tuple[str, int, int] | None:
    """Source, sequence number and frame of `posetrack_image_id`; None where no sequence has that number, or two could.

    Two could from 3 x 10^10 to 4 x 10^10: mpiinew, and bonn's sequences from 1,000,000 on. There only going from names to
    numbers helps.
    """
    sequence, frame = divmod(image_id, _SEQUENCE_STEP)
    found = [
        (source, sequence - number * _SOURCE_STEP // _SEQUENCE_STEP)
        for source, number in SOURCES.items()
        if 0 <= sequence - number * _SOURCE_STEP // _SEQUENCE_STEP < _SEQUENCES[source]
    ]
    return (*found[0], frame) if len(found) == 1 else None


def first_image_ids(lengths: Mapping[str, int]) -> dict[str, int]:
    """For the sequences of one export, the number of the first frame of each that has no number of PoseTrack's.

    In the order of their names each takes as many blocks of 10,000 numbers as its frames need, from 2 x 10^13 on: the same
    names and lengths give the same numbers, no two frames share one, and PoseTrack's are left alone.

    Args: lengths, frames of every sequence by name.
    """
    first = {}
    following = FIRST_OTHER
    for name in sorted(lengths):
        first[name] = following
        following += _SEQUENCE_STEP * max(1, -(-lengths[name] // _SEQUENCE_STEP))
    return first


def image_ids(sequence: Sequence, first_image_id: int) -> Int:
    """(T,) int64, the numbers to write: the sequence's own, else PoseTrack's by its name, else from first_image_id on."""
    if (sequence.image_id >= 0).all():
        return sequence.image_id
    official = [posetrack_image_id(sequence.name, number) for number in frame_numbers(sequence)]
    numbers = [number for number in official if number is not None]
    if len(set(numbers)) == len(sequence):
        return np.array(numbers, np.int64)
    return first_image_id + np.arange(len(sequence))


def frame_numbers(sequence: Sequence) -> list[int]:
    """T numbers in the names of the pictures; places in the sequence where a name has none."""
    stems = [PurePosixPath(name).name.split(".")[0].split("_")[0] for name in sequence.frame_names]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        return [int(stem) for stem in stems]
    return list(range(len(stems)))
