"""HRNet backbones (arXiv 1902.09212) as timm has them, but for the end: poses are read from the highest resolution alone.

Shape legend: N crops, H x W pixels, C = 32 or 48 channels, the network's width.
"""

from __future__ import annotations

from timm.models import hrnet
from torch import Tensor


class HRNet(hrnet.HighResolutionNet):
    """Crops to the map at stride 4. Parameters are called as in timm, and as in the files that the paper's authors published."""

    def __init__(self, width: int) -> None:
        super().__init__(hrnet.cfg_cls[f"hrnet_w{width}"], head="")
        # The published pose networks fuse nothing but the highest resolution in their last module.
        last = self.stage4[-1]
        last.fuse_layers = last.fuse_layers[:1]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """crops: (N, 3, H, W) float32, H and W multiples of 32. Returns one map, (N, C, H / 4, W / 4)."""
        return (self.forward_features(crops)[0],)
