"""Heatmaps to keypoints: the highest cell, and sparse local maxima as candidates, to sub-pixels. Batched, on any device.

Shape legend: N crops, K keypoints, C candidates, H rows and W columns of cells. A cell is numbered row * W + column;
where a map has fewer than C candidates the rest are cell -1 and NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LocalMaxima:
    """The highest local maxima of each map, highest first.

    cell       (N, K, C) int64, row * W + column; -1 where a map has fewer than C
    response   (N, K, C) float32, the map's value in that cell; NaN likewise
    """

    cell: Tensor
    response: Tensor


class PoseEstimate(NamedTuple):
    """The pose of the one person whom the crop is about.

    xy                 (N, K, 2) float32, share of the crop's width and height: (0, 0) its top left corner, (1, 1) the other
    score              (N, K) float32, the heatmap's response at the keypoint's cell, in [0, 1]
    cell               (N, K) int64, the keypoint's cell
    weighted_heatmap   (N, K, H, W) float32, the responses as the network's own decoding weighs them
    """

    xy: Tensor
    score: Tensor
    cell: Tensor
    weighted_heatmap: Tensor


def _check_heatmap(heatmap: Tensor, name: str = "heatmap") -> None:
    if heatmap.ndim != 4 or not heatmap.is_floating_point() or 0 in heatmap.shape[2:]:
        raise ValueError(f"{name} must be (N, K, H, W) floating point, not {tuple(heatmap.shape)} {heatmap.dtype}")


def _check_cells(maps: Tensor, cell: Tensor) -> None:
    if cell.ndim != 3 or cell.shape[:2] != maps.shape[:2] or cell.dtype != torch.int64:
        raise ValueError(
            f"cell must be (N, K, C) int64 with the maps' N and K {tuple(maps.shape[:2])}, "
            f"not {tuple(cell.shape)} {cell.dtype}"
        )


def _running_maximum(heatmap: Tensor, reach: int, dim: int) -> Tensor:
    """The highest of each cell and the `reach` cells on both sides of it along dim."""
    # On a CPU ten times faster than max_pool2d, which compares one element at a time.
    highest, length = heatmap.clone(), heatmap.shape[dim]
    for step in range(1, min(reach, length - 1) + 1):
        for source, target in ((0, step), (step, 0)):
            part = highest.narrow(dim, target, length - step)
            torch.maximum(part, heatmap.narrow(dim, source, length - step), out=part)
    return highest


def local_maxima(heatmap: Tensor, candidates: int = 16, window: int = 3) -> LocalMaxima:
    """The `candidates` highest local maxima of each map (paper section 3.3; choice 7 of docs/method.md).

    A maximum is a cell that no cell of the window x window cells around it exceeds; of equal cells in one window the
    first in scan order counts, so a flat-topped peak gives its first cell (a winding plateau may give a few) and a
    constant map cell 0. Equal responses are ordered by cell: the answer depends on no device and no sorting algorithm.

    Args:
        heatmap: (N, K, H, W), any floating point type, without NaN.
        candidates: C, at least 1.
        window: side of the neighbourhood in cells, odd and at least 3.
    Raises: ValueError naming the argument that is out of range.
    """
    _check_heatmap(heatmap)
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, not {candidates}")
    if window < 3 or window % 2 == 0:
        raise ValueError(f"window must be an odd number of cells, at least 3, not {window}")
    N, K, H, W = heatmap.shape
    heatmap = heatmap.float().reshape(N * K, H, W)
    reach = window // 2
    highest = _running_maximum(_running_maximum(heatmap, reach, dim=2), reach, dim=1)
    # What remains is sparse: everything below works on the peaks alone.
    peak = torch.nonzero((heatmap == highest).flatten())[:, 0]
    response = heatmap.flatten()[peak]
    owner, cell = peak // (H * W), peak % (H * W)
    row, column = cell // W, cell % W
    shift = torch.arange(-reach, reach + 1, device=heatmap.device)
    down, right = torch.meshgrid(shift, shift, indexing="ij")
    earlier = (down < 0) | ((down == 0) & (right < 0))
    up, aside = -down[earlier], right[earlier]
    inside = (row[:, None] >= up) & (column[:, None] + aside >= 0) & (column[:, None] + aside < W)
    neighbour = heatmap.flatten()[torch.where(inside, peak[:, None] - up * W + aside, peak[:, None])]
    first = ~(inside & (neighbour == response[:, None])).any(dim=1)
    owner, cell, response = owner[first], cell[first], response[first]

    # Peaks come in scan order: a stable sort keeps it among equals, a second one brings the maps together again.
    order = torch.argsort(response, descending=True, stable=True)
    order = order[torch.argsort(owner[order], stable=True)]
    owner, cell, response = owner[order], cell[order], response[order]
    start = torch.searchsorted(owner, torch.arange(N * K, device=heatmap.device))
    rank = torch.arange(len(owner), device=heatmap.device) - start[owner]
    kept = rank < candidates
    place = owner[kept], rank[kept]
    out_cell = torch.full((N * K, candidates), -1, dtype=torch.int64, device=heatmap.device)
    out_response = torch.full((N * K, candidates), torch.nan, device=heatmap.device)
    out_cell[place] = cell[kept]
    out_response[place] = response[kept]
    return LocalMaxima(out_cell.reshape(N, K, candidates), out_response.reshape(N, K, candidates))


def gather_cells(maps: Tensor, cell: Tensor) -> Tensor:
    """Values of maps (N, K, H, W) in cells (N, K, C) int64: (N, K, C) float32, NaN where the cell is -1."""
    _check_heatmap(maps, "maps")
    _check_cells(maps, cell)
    values = maps.flatten(2).gather(2, cell.clamp(min=0)).float()
    return values.masked_fill(cell < 0, torch.nan)


def gather_vectors(maps: Tensor, cell: Tensor) -> Tensor:
    """Vectors of maps (N, D, H, W) that all keypoints share, in cells (N, K, C) int64: (N, K, C, D) float32, 0 where it is -1."""
    N, K, C = cell.shape
    known = cell.clamp(min=0).reshape(N, 1, K * C).expand(-1, maps.shape[1], -1)
    vectors = maps.flatten(2).gather(2, known).float().reshape(N, maps.shape[1], K, C).permute(0, 2, 3, 1)
    return vectors.masked_fill((cell < 0)[..., None], 0)


def sample_vectors(maps: tuple[Tensor, ...], cell: Tensor, shape: tuple[int, int]) -> Tensor:
    """Vectors of maps of several resolutions at the middles of cells, side by side, between cells of a map bilinear.

    Args: maps, (N, D_i, rows_i, columns_i) each; cell (N, K, C) int64 of a map of `shape` (rows, columns), row * columns + column.
    Returns: (N, K, C, sum of D_i) float32, 0 where the cell is -1.
    """
    rows, columns = shape
    N, K, C = cell.shape
    known = cell.clamp(min=0)
    x = (known % columns + 0.5) * (2 / columns) - 1
    y = (known.div(columns, rounding_mode="floor") + 0.5) * (2 / rows) - 1
    grid = torch.stack([x, y], dim=-1).reshape(N, K * C, 1, 2)
    sampled = [
        functional.grid_sample(level.float(), grid, mode="bilinear", padding_mode="border", align_corners=False) for level in maps
    ]
    vectors = torch.cat(sampled, dim=1).reshape(N, -1, K, C).permute(0, 2, 3, 1)
    return vectors.masked_fill((cell < 0)[..., None], 0)


def subpixel_shift(heatmap: Tensor, cell: Tensor) -> Tensor:
    """Where inside its cell a peak stands, by the quadratic through the cell and its two neighbours in each direction.

    The shift from the cell's centre is -h' / h'' with central differences, clamped to half a cell; 0 along a direction
    in which the map is not concave or a neighbour is missing (the map's border).

    Args: heatmap (N, K, H, W) floating point; cell (N, K, C) int64.
    Returns: (N, K, C, 2) float32, (x, y) in cells; NaN where the cell is -1.
    """
    _check_heatmap(heatmap)
    _check_cells(heatmap, cell)
    H, W = heatmap.shape[2:]
    flat = heatmap.flatten(2)
    known = cell.clamp(min=0)
    here = flat.gather(2, known).float()

    def along(position: Tensor, length: int, stride: int) -> Tensor:
        inside = (position > 0) & (position < length - 1)
        step = torch.where(inside, stride, 0)
        before, after = flat.gather(2, known - step).float(), flat.gather(2, known + step).float()
        slope, curvature = (after - before) / 2, after + before - 2 * here
        concave = curvature < 0
        shift = -slope / torch.where(concave, curvature, -1)
        return torch.where(concave, shift, 0).clamp(-0.5, 0.5)

    shift = torch.stack([along(known % W, W, 1), along(known // W, H, W)], dim=-1)
    return shift.masked_fill((cell < 0)[..., None], torch.nan)


def quarter_shift(heatmap: Tensor, cell: Tensor) -> Tensor:
    """A quarter of a cell towards the higher neighbour, in x and in y: the published networks' decoding.

    None between equal neighbours, and none along a direction in which a neighbour is missing (the map's border). Their own code
    moves nothing, along either direction, in the two outermost cells of each side.

    Args: heatmap (N, K, H, W) floating point; cell (N, K, C) int64.
    Returns: (N, K, C, 2) float32, (x, y) in cells; NaN where the cell is -1.
    """
    _check_heatmap(heatmap)
    _check_cells(heatmap, cell)
    H, W = heatmap.shape[2:]
    flat = heatmap.flatten(2)
    known = cell.clamp(min=0)

    def along(position: Tensor, length: int, stride: int) -> Tensor:
        step = torch.where((position > 0) & (position < length - 1), stride, 0)
        return 0.25 * torch.sign(flat.gather(2, known + step).float() - flat.gather(2, known - step).float())

    shift = torch.stack([along(known % W, W, 1), along(known // W, H, W)], dim=-1)
    return shift.masked_fill((cell < 0)[..., None], torch.nan)


def cell_to_crop(cell: Tensor, shift: Tensor, H: int, W: int, centre: float = 0.5) -> Tensor:
    """Cells (...) int64 and shifts (..., 2) in cells to normalised crop coordinates (..., 2) float32, (x, y).

    A cell stands for the point `centre` cells from its corner: its middle (see tkm/geometry.py), unless the network was trained
    otherwise. NaN where the cell is -1.
    """
    if shift.shape != (*cell.shape, 2):
        raise ValueError(f"shift must have shape {(*cell.shape, 2)}, not {tuple(shift.shape)}")
    corner = torch.stack([cell % W, cell.div(W, rounding_mode="floor")], dim=-1)
    xy = (corner + centre + shift) / torch.tensor([W, H], dtype=torch.float32, device=cell.device)
    return xy.masked_fill((cell < 0)[..., None], torch.nan)


def decode_highest(heatmap: Tensor, centre: float) -> PoseEstimate:
    """Each keypoint where its response is highest (Eq. 1), of equal cells in the first, moved by `quarter_shift`.

    So the keypoint is its map's first candidate, in cell and position. heatmap (N, K, H, W) floating point; centre as
    `cell_to_crop` takes it.
    """
    _check_heatmap(heatmap)
    heatmap = heatmap.float()
    H, W = heatmap.shape[2:]
    flat = heatmap.flatten(2)
    # argmax may give any of equal cells, another one on another device.
    index = torch.arange(H * W, device=heatmap.device)
    cell = torch.where(flat == flat.amax(2, keepdim=True), index, H * W - 1).amin(2)
    xy = cell_to_crop(cell[..., None], quarter_shift(heatmap, cell[..., None]), H, W, centre)[:, :, 0]
    score = flat.gather(2, cell[..., None])[..., 0].clamp(0, 1)
    return PoseEstimate(xy, score, cell, heatmap)
