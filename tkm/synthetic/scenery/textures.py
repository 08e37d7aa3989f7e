"""Surfaces of scenes as images that repeat: planks, tiles, asphalt, grass, posters.

All have mean 1 over the image, so that a surface's colour is its tint; PICTURES and BOOKS have colours of their own.
Linear light.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import cv2
import numpy as np

from tkm.types import Float

SIZE_PX = 512
PICTURES_SIDE = 4  # PICTURES is a square of this many by this many pictures


class Texture(IntEnum):
    """What a surface looks like near by."""

    PLAIN = 0
    PLANKS = 1
    WOOD = 2
    TILES = 3
    CARPET = 4
    ASPHALT = 5
    PAVING = 6
    GRASS = 7
    BRICK = 8
    CONCRETE = 9
    FABRIC = 10
    CURTAIN = 11
    CORRUGATED = 12
    HEDGE = 13
    PICTURES = 14
    BOOKS = 15


PERIOD_M = {
    Texture.PLAIN: 2.5, Texture.PLANKS: 2.4, Texture.WOOD: 1.2, Texture.TILES: 2.4, Texture.CARPET: 1.6, Texture.ASPHALT: 2.6,
    Texture.PAVING: 2.4, Texture.GRASS: 3.0, Texture.BRICK: 1.5, Texture.CONCRETE: 3.0, Texture.FABRIC: 0.5,
    Texture.CURTAIN: 2.0, Texture.CORRUGATED: 1.5, Texture.HEDGE: 1.2, Texture.PICTURES: 4.0, Texture.BOOKS: 1.6,
}  # fmt: skip


class Grain:
    """Noise that repeats, of standard deviation 1, from one field of random waves."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._waves = np.fft.rfft2(rng.normal(size=(SIZE_PX, SIZE_PX)).astype(np.float32))
        self._y2 = (np.fft.fftfreq(SIZE_PX)[:, None] * SIZE_PX).astype(np.float32) ** 2
        self._x2 = (np.fft.rfftfreq(SIZE_PX)[None] * SIZE_PX).astype(np.float32) ** 2
        self._fields: dict[tuple[float, float], Float] = {}  # textures share most of them

    def of(self, power: float, stretch: float = 1.0, turn: int = 0) -> Float:
        """(SIZE_PX, SIZE_PX) float32, smoother the higher the power.

        Args: stretch > 1 draws it out along x. turn: fields of different turns do not look alike.
        """
        if (power, stretch) not in self._fields:
            radius2 = self._y2 + self._x2 * np.float32(stretch**2)
            radius2[0, 0] = np.inf
            field = np.fft.irfft2(self._waves * radius2 ** np.float32(-power / 2), (SIZE_PX, SIZE_PX))
            self._fields[power, stretch] = field / field.std()
        field = np.roll(self._fields[power, stretch], (turn * 197, turn * 131), (0, 1))
        return np.ascontiguousarray(field[:: -1 if turn % 2 else 1], np.float32)


def texture_images(kinds: tuple[Texture, ...], grain: Grain, rng: np.random.Generator) -> Float:
    """(kinds, SIZE_PX, SIZE_PX, 3) float32. Row 0 is v = 0."""
    images = np.empty((len(kinds), SIZE_PX, SIZE_PX, 3), np.float32)
    for number, kind in enumerate(kinds):
        image = _DRAW[kind](grain, rng)
        images[number] = image if image.ndim == 3 else image[..., None]
        if kind not in (Texture.PICTURES, Texture.BOOKS):
            np.maximum(images[number], 0.02, out=images[number])
            images[number] /= images[number].mean()
    return images


def _cells(rows: int, columns: int, offset: float, gap_px: float, rng: np.random.Generator) -> tuple[Float, Float, Float]:
    """A wall of bricks, every second row moved by `offset` of a brick's length.

    Returns (S, S) each: 0 in the gaps to 1 in the bricks, a number of each brick in [-1, 1], and another one.
    """
    at = np.arange(SIZE_PX, dtype=np.float32) + np.float32(0.5)
    y, row = at * np.float32(rows / SIZE_PX), np.arange(SIZE_PX) * rows // SIZE_PX
    edge_y = (0.5 - np.abs(y - row - 0.5)) * (SIZE_PX / rows)
    inside, one, two = np.empty((3, SIZE_PX, SIZE_PX), np.float32)
    tones = rng.uniform(-1, 1, (2, rows, columns)).astype(np.float32)
    for odd in (0, 1):  # rows of one kind have their joints at the same places
        x = (at * (columns / SIZE_PX) + offset * odd) % columns
        column = x.astype(np.int64)
        edge_x = (0.5 - np.abs(x - column - 0.5)) * (SIZE_PX / columns)
        mine = row % 2 == odd
        edge = np.minimum(edge_x, edge_y[mine, None])
        inside[mine] = np.clip((edge - gap_px / 2) / 1.5 + 0.5, 0, 1)
        one[mine], two[mine] = tones[:, row[mine, None], column]
    return inside, one, two


def _plain(grain: Grain, _rng: np.random.Generator) -> Float:
    return 1 + 0.018 * grain.of(1.7) + 0.012 * grain.of(0.6, turn=3)


def _planks(grain: Grain, rng: np.random.Generator) -> Float:
    inside, one, two = _cells(int(rng.choice([12, 16, 20])), int(rng.choice([1, 2, 3])), rng.uniform(0.3, 0.5), 2.0, rng)
    fibre = grain.of(1.0, stretch=14) * 0.10 + grain.of(1.6, stretch=5, turn=1) * 0.06
    tone = (1 + 0.16 * one + fibre * (1 + 0.4 * two)) * (0.45 + 0.55 * inside)
    return tone[..., None] * (1 + np.stack([0.03 * two, 0 * two, -0.05 * two], axis=-1))


def _wood(grain: Grain, _rng: np.random.Generator) -> Float:
    rings = np.sin(4 * grain.of(2.0, stretch=9) + np.linspace(0, 10 * np.pi, SIZE_PX, endpoint=False, dtype=np.float32)[:, None])
    return 1 + 0.06 * rings + 0.08 * grain.of(0.9, stretch=16, turn=1)


def _tiles(grain: Grain, rng: np.random.Generator) -> Float:
    count = int(rng.choice([4, 6, 8]))
    inside, one, two = _cells(count, count, float(rng.choice([0.0, 0.5])) * (count % 2 == 0), 4.0, rng)
    board = rng.choice([0.0, 0.0, 0.35])  # now and then a chess board
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] * count // SIZE_PX
    tone = 1 + 0.05 * one + 0.03 * two * grain.of(1.6) + 0.02 * grain.of(1.0, turn=2) + board * (2 * ((x + y) % 2) - 1)
    return (tone * inside + 0.55 * (1 - inside)).astype(np.float32)


def _carpet(grain: Grain, rng: np.random.Generator) -> Float:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float32) * (2 * np.pi / SIZE_PX)
    n = int(rng.integers(3, 9))
    ornament = np.sin(n * x) * np.sin(n * y) if rng.random() < 0.5 else np.sin(2 * n * (x + 0 * y))
    return 1 + 0.13 * grain.of(0.2) + 0.05 * grain.of(1.5, turn=1) + rng.choice([0.0, 0.06, 0.15]) * np.clip(3 * ornament, -1, 1)


def _asphalt(grain: Grain, _rng: np.random.Generator) -> Float:
    crack = np.exp(-((grain.of(1.9, turn=2) / 0.012) ** 2)) * (grain.of(1.8, turn=5) > 0.6)
    return (1 + 0.16 * grain.of(0.15) + 0.07 * grain.of(1.5, turn=1)) * (1 - 0.35 * crack)


def _paving(grain: Grain, rng: np.random.Generator) -> Float:
    rows = int(rng.choice([4, 6, 8, 12]))
    columns = max(2, int(rows / rng.choice([1, 1.5, 2])))
    inside, one, two = _cells(rows, columns, float(rng.choice([0.0, 0.5])), 5.0, rng)
    tone = (1 + 0.14 * one + 0.07 * grain.of(1.3) + 0.08 * grain.of(0.3, turn=1)) * inside + 0.45 * (1 - inside)
    return tone[..., None] * (1 + np.stack([0.04 * two, 0.01 * two, -0.05 * two], axis=-1))


def _grass(grain: Grain, _rng: np.random.Generator) -> Float:
    fine, mid, wide = grain.of(0.4), grain.of(1.0, turn=1), grain.of(1.8, turn=2)
    tone = np.exp(0.30 * fine + 0.20 * mid + 0.12 * wide)
    dry = np.clip(0.35 * wide + 0.25 * mid, -0.6, 0.8)
    return tone[..., None] * (1 + np.stack([0.35 * dry, 0.05 * dry, -0.10 * dry], axis=-1))


def _brick(grain: Grain, rng: np.random.Generator) -> Float:
    inside, one, two = _cells(20, 6, 0.5, 4.5, rng)
    tone = 1 + 0.22 * one + 0.08 * grain.of(0.8)
    bricks = tone[..., None] * (1 + np.stack([0.05 * two, -0.06 * two, -0.10 * two], axis=-1))
    mortar = np.array([1.05, 1.25, 1.45], np.float32) * (0.9 + 0.08 * grain.of(0.8, turn=1)[..., None])
    return np.asarray(bricks * inside[..., None] + mortar * (1 - inside[..., None]), np.float32)


def _concrete(grain: Grain, rng: np.random.Generator) -> Float:
    inside, one, _ = _cells(2, 2, 0.0, 3.0, rng)
    streaks = grain.of(1.2, stretch=0.12, turn=1)
    return (1 + 0.04 * one + 0.05 * grain.of(1.6) + 0.05 * streaks + 0.03 * grain.of(0.3, turn=4)) * (0.7 + 0.3 * inside)


def _fabric(grain: Grain, _rng: np.random.Generator) -> Float:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float32) * (2 * np.pi / SIZE_PX)
    return 1 + 0.06 * np.sin(60 * x) * np.sin(60 * y) + 0.05 * grain.of(1.2) + 0.06 * grain.of(0.2, turn=1)


def _curtain(grain: Grain, rng: np.random.Generator) -> Float:
    x = np.linspace(0, 2 * np.pi, SIZE_PX, endpoint=False, dtype=np.float32)
    n = int(rng.integers(4, 8))
    folds = np.sin(n * x + 1.3 * np.sin(2 * x) + 0.8 * np.sin(3 * x + 1))
    return (0.62 + 0.42 * folds[None] * np.abs(folds[None]) ** 0.3 + 0.03 * grain.of(0.9, stretch=0.1)).astype(np.float32)


def _corrugated(grain: Grain, _rng: np.random.Generator) -> Float:
    y = np.linspace(0, 2 * np.pi, SIZE_PX, endpoint=False, dtype=np.float32)[:, None]
    return 1 + 0.22 * np.sin(14 * y) + 0.05 * grain.of(1.4)


def _hedge(grain: Grain, _rng: np.random.Generator) -> Float:
    tone = np.exp(0.45 * grain.of(0.8) + 0.2 * grain.of(1.5, turn=1))
    return tone[..., None] * (1 + np.stack([0.12, 0.02, 0.05], axis=-1) * grain.of(0.9, turn=2)[..., None])


def _pictures(_grain: Grain, rng: np.random.Generator) -> Float:
    side = SIZE_PX // PICTURES_SIDE
    sheet = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    for row in range(PICTURES_SIDE):
        for column in range(PICTURES_SIDE):
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = _picture(side, rng)
    # v runs upwards and rows downwards.
    return np.ascontiguousarray((sheet[::-1].astype(np.float32) / 255) ** 2.2 * 0.9)


def _picture(side: int, rng: np.random.Generator) -> np.ndarray:
    """A poster, (side, side, 3) uint8: blots, letters or a landscape in a white frame."""
    low, high = (_print(rng) for _ in range(2))
    ramp = np.linspace(0, 1, side)[:, None, None]
    image = np.ascontiguousarray(np.broadcast_to(low * (1 - ramp) + high * ramp, (side, side, 3)), np.uint8)
    kind = rng.integers(3)
    for _ in range(int(rng.integers(3, 8))):
        colour = tuple(int(c) for c in _print(rng))
        x, y, u, v = (int(c) for c in rng.integers(0, side, 4))
        if kind == 0:
            cv2.circle(image, (x, y), 4 + u // 5, colour, -1 if v % 2 else 3, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x, y), (u, v), colour, -1)
        else:
            hills = side * (0.35 + 0.06 * _) + side * 0.1 * np.sin(np.arange(side) * (0.02 + 0.0006 * u) + v)
            image[np.arange(side)[:, None] > hills[None]] = colour
    if kind != 2:
        for line in range(int(rng.integers(1, 5))):
            top = side * 0.6 + line * side * 0.08
            cv2.line(
                image,
                (12, int(top)),
                (int(rng.uniform(40, side - 12)), int(top)),
                (20, 20, 20) if high.sum() > 350 else (240, 240, 240),
                3,
            )
    frame = tuple(int(c) for c in rng.choice([[245] * 3, [25] * 3, [120, 90, 60]]))
    cv2.rectangle(image, (0, 0), (side - 1, side - 1), frame, 7)
    return image


def _print(rng: np.random.Generator) -> np.ndarray:
    """(3,) a colour that is not the brightest that there is, as screens have them and paper has not."""
    colour = rng.integers(15, 240, 3)
    return np.asarray(colour.mean() + 0.55 * (colour - colour.mean()))


def _books(_grain: Grain, rng: np.random.Generator) -> Float:
    image = np.full((SIZE_PX, SIZE_PX, 3), 0.02, np.float32)
    shelf = SIZE_PX // 4
    for row in range(4):
        x = 0
        while x < SIZE_PX:
            width, height = int(rng.integers(6, 20)), int(shelf * rng.uniform(0.55, 0.88))
            if rng.random() < 0.93:
                back = image[row * shelf + 10 : row * shelf + height, x : x + width - 1]
                back[:] = rng.uniform(0.03, 0.6, 3) ** 1.3
                back[height // 2 : height // 2 + 8, 1:-1] *= rng.choice([0.5, 1.5])
            x += width
        image[row * shelf : row * shelf + 10] = (0.22, 0.14, 0.08)
    return image


_DRAW: dict[Texture, Callable[[Grain, np.random.Generator], Float]] = {
    Texture.PLAIN: _plain, Texture.PLANKS: _planks, Texture.WOOD: _wood, Texture.TILES: _tiles, Texture.CARPET: _carpet,
    Texture.ASPHALT: _asphalt, Texture.PAVING: _paving, Texture.GRASS: _grass, Texture.BRICK: _brick,
    Texture.CONCRETE: _concrete, Texture.FABRIC: _fabric, Texture.CURTAIN: _curtain, Texture.CORRUGATED: _corrugated,
    Texture.HEDGE: _hedge, Texture.PICTURES: _pictures, Texture.BOOKS: _books,
}  # fmt: skip
