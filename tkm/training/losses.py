"""What stage 1 minimises: Eq. 2, heatmaps against Gaussians around the true keypoints; and how often keypoints are right.

Shape legend: N crops, K keypoints, H rows and W columns of cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gaussian_targets(xy: Tensor, H: int, W: int, cell_centre: float, sigma: float) -> Tensor:
    """Heatmaps as they should be: exp(-d^2 / sigma^2), d the distance in cells to the keypoint (choice 1 of docs/method.md).

    Args: xy (N, K, 2) float32, normalised crop coordinates, NaN where unknown; cell_centre, where in its cell the point stands
        that the cell is for, as `tkm.heatmaps.cell_to_crop` takes it; sigma, in cells.
    Returns: (N, K, H, W) float32; 0 for unknown keypoints.
    """
    import torch  # here: see tkm.networks.runtime

    x, y = (xy * torch.tensor([W, H], dtype=xy.dtype, device=xy.device) - cell_centre).unbind(dim=-1)
    across = torch.arange(W, device=xy.device) - x[..., None]
    down = torch.arange(H, device=xy.device) - y[..., None]
    heatmaps = torch.exp(-(across**2) / sigma**2)[..., None, :] * torch.exp(-(down**2) / sigma**2)[..., :, None]
    return heatmaps.nan_to_num(nan=0.0)


def keypoint_loss(heatmap: Tensor, target: Tensor, is_visible: Tensor) -> Tensor:
    """Eq. 2: squared errors, summed over pixels and visible keypoints; the mean over crops.

    Args: heatmap and target (N, K, H, W); is_visible (N, K) bool. Returns: a scalar, float32.
    """
    squared = (heatmap.float() - target).square().sum(dim=(2, 3))
    return (squared * is_visible).sum() / len(heatmap)


def is_in_crop(xy: Tensor) -> Tensor:
    """Which keypoints (N, K, 2), in normalised crop coordinates, stand in the crop: (N, K) bool, false where NaN."""
    return ((xy >= 0) & (xy < 1)).all(dim=-1)


def is_right(found_xy_px: Tensor, true_xy_px: Tensor, size_px: Tensor, share: float) -> Tensor:
    """PCK: which keypoints stand nearer to the truth than this share of the person's size.

    Args: found_xy_px and true_xy_px (N, K, 2); size_px (N,), longer side of the person's box. Returns: (N, K) bool.
    """
    return (found_xy_px - true_xy_px).norm(dim=-1) < share * size_px[:, None]
