"""ResNet backbones (arXiv 1512.03385) as torchvision has them, and in Caffe's style, which published pose networks have, too.

Shape legend: N crops, H x W pixels.
"""

from __future__ import annotations

from torch import Tensor
from torchvision.models import resnet

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(resnet.ResNet):
    """Crops to C5, the last map before pooling. Parameters are called as in torchvision; pooling and classifier are left out.

    Where a stage halves the resolution, torchvision's bottleneck does so at its 3 x 3 convolution, Caffe's at its first 1 x 1.
    Their parameters are the same.
    """

    def __init__(self, depth: int, caffe_style: bool = False) -> None:
        super().__init__(resnet.Bottleneck, list(BLOCKS[depth]))
        del self.avgpool, self.fc
        if caffe_style:
            for stage in (self.layer2, self.layer3, self.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, stage[0].conv1.stride

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """crops: (N, 3, H, W) float32, H and W multiples of 32. Returns one map, (N, 2048, H / 32, W / 32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(crops))))
        return (self.layer4(self.layer3(self.layer2(self.layer1(x)))),)
