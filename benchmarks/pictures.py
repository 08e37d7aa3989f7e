"""The pictures of docs/synthetic.md and benchmarks/README.md, from the first clips of the split val.

tkm synthesize FOLDER --split val --videos 10 && python -m benchmarks.pictures FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pictures

from storage.sources import Source
from storage.video import decode, probe
from tkm.geometry import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
STILLS = {"000006_crowd_val1": 25, "000002_twins_val1": 50, "000009_camera_val1": 8}  # frame of each
MOVING = "000008_dance_val1"
SHEET = tuple(f"00000{number}_{preset}_val1" for number, preset in enumerate(("easy", "crowd", "twins", "dance", "camera")))
SHEET_FRAMES = (5, 25, 50)
GIF_SIZE_PX, GIF_STEP = (352, 198), 2  # every second frame at half the rate: as fast as the clip


def frames(folder: Path, name: str, wanted: list[int]) -> list[Image]:
    """Some frames of a clip."""
    source = Source(str(folder / "videos" / f"{name}.mp4"), "video")
    return [image for _, image in decode(source, probe(source), np.array(wanted))]


def smaller(image: Image, width_px: int, height_px: int) -> Pictures.Image:
    """A picture in another size."""
    return Pictures.fromarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA))


def sheet(folder: Path) -> Pictures.Image:
    """A row a preset: three frames of a clip."""
    clips = [frames(folder, name, [*SHEET_FRAMES]) for name in SHEET]
    rows = [np.hstack([np.asarray(smaller(image, 320, 180)) for image in clip]) for clip in clips]
    return Pictures.fromarray(np.vstack(rows))


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, frame in STILLS.items():
        still = Pictures.fromarray(frames(folder, name, [frame])[0])
        still.save(DOCS / f"synthetic-{name.split('_')[1]}.jpg", quality=85)
    sheet(folder).save(DOCS / "synthetic-val.jpg", quality=85)
    moving = [smaller(image, *GIF_SIZE_PX) for image in frames(folder, MOVING, [*range(0, 60, GIF_STEP)])]
    # One palette for all frames, without dithering: what stands still costs nothing. It covers rare colours, which people wear.
    palette = moving[0].quantize(255, method=Pictures.Quantize.MAXCOVERAGE)
    drawn = [picture.quantize(palette=palette, dither=Pictures.Dither.NONE) for picture in moving]
    drawn[0].save(
        DOCS / "synthetic-dance.gif", save_all=True, append_images=drawn[1:], duration=50 * GIF_STEP, loop=0, optimize=True
    )


if __name__ == "__main__":
    main()
