"""ResNet backbones (arXiv 1512.03385) as torchvision has them: the stride of a bottleneck stands at its 3 x 3 convolution.

Shape legend: N crops, H x W pixels.
"""

from __future__ import annotations

from torch import Tensor
from torchvision.models import resnet

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(resnet.ResNet):
    """Crops to C5, the last map before pooling. Parameters are called as in torchvision; pooling and classifier are left out."""

    def __init__(self, depth: int) -> None:
        super().__init__(resnet.Bottleneck, list(BLOCKS[depth]))
        del self.avgpool, self.fc

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """crops: (N, 3, H, W) float32, H and W multiples of 32. Returns one map, (N, 2048, H / 32, W / 32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(crops))))
        return (self.layer4(self.layer3(self.layer2(self.layer1(x)))),)
