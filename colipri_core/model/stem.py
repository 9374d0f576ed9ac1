"""ConvStem: convolutions over the volume that halve it until one voxel is one token, and a way back to small things."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn

from colipri_core.model.config import ImageEncoderConfig

STEM_SEES = ("down", "up", "maps")
"""The parts of a stem that see; what is left tells the tokens."""
_MOMENTUM = 0.1
_EPSILON = 1e-5
_HIDDEN = 4
_SOFTNESS = 4.0
"""Evidence of a map beyond which a token hardly tells more from less."""
_STANDS_OUT = 2.0
"""Standard deviations beyond which a peak hardly tells more."""
_TOLD = 3
"""Values that a token is told of each map."""
_GAIN = 16.0
"""Lets the stem soon be as loud as what it is added to, whose channels have a standard deviation of 1 to 10."""


class ConvStem(nn.Module):
    """What convolutions see around each patch, as token channels to add to the patch's linear embedding.

    A linear map needs a direction for every place that a small thing can have within a patch, and learns each of them
    slowly; convolutions find it anywhere, also where it lies across the border of two patches. With `stem_maps` they
    go back to half the volume's resolution, as a U-Net does, and draw maps there; a token is told the largest and the
    mean value of each map within its patch, and how far the largest stands out from the largest of other volumes,
    before the blocks and again after them, where the residual stream has become so large that what entered it hardly
    counts. Such maps can be taught what lesions look like before anything else is trained. Starts from nothing: added
    to an encoder that was trained without, it leaves it as it was. That convolutions come first is the idea of Xiao et
    al., "Early convolutions help transformers see better" (2021); the maps and every size are our choice, and none of
    it is part of the published system.

    Args:
        config: Sizes of the encoder, with a `stem`.

    Attributes:
        usual: Mean over volumes of each map's largest value.
        spread: Its standard deviation over volumes.
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        widths = [channels for channels, _ in config.stem]
        entering = [config.embedded_channels, *widths]
        self.down = nn.ModuleList(
            nn.Sequential(*_convolution(before, after, edge=3, stride=2), *(_ResidualUnit(after) for _ in range(units)))
            for before, (after, units) in zip(entering, config.stem, strict=False)
        )
        self.up: nn.ModuleList | None = None
        self.maps: nn.Sequential | None = None
        if config.stem_maps:
            self.up = nn.ModuleList(
                _WayBack(deep, fine) for fine, deep in zip(widths[-2::-1], widths[:0:-1], strict=True)
            )
            hidden = _HIDDEN * widths[0]
            self.maps = nn.Sequential(*_convolution(widths[0], hidden, edge=1), nn.Conv3d(hidden, config.stem_maps, 1))
            self.register_buffer("usual", torch.zeros(config.stem_maps))
            self.register_buffer("spread", torch.ones(config.stem_maps))
        told = _TOLD * config.stem_maps
        self.leave = _silent(widths[-1] + told, config.width)
        self.recall = _silent(told, config.width) if config.stem_maps else None

    def forward(self, channels_BCXYZ: Tensor) -> tuple[Tensor, Tensor | None]:
        """Look at whole volumes, after the intensity ramps.

        Returns:
            Token channels (B, width, x, y, z) to add to the patch embedding, and those to add after the blocks; None
            without maps.
        """
        levels = self._descend(channels_BCXYZ)
        seen = levels[-1]
        if self.recall is None:
            return _GAIN * self.leave(seen), None
        shown = self._tell(self._draw(levels), edge=2 ** (len(levels) - 1)).to(seen)
        return _GAIN * self.leave(torch.cat([seen, shown], dim=1)), _GAIN * self.recall(shown)

    def draw(self, channels_BCXYZ: Tensor) -> Tensor:
        """Return the maps (B, stem_maps, X/2, Y/2, Z/2), as logits; only where the config has maps."""
        return self._draw(self._descend(channels_BCXYZ))

    @torch.no_grad()
    def recall_as(self, meanings_CM: Tensor) -> None:
        """Let a map that stands out move a token, after the blocks, by its column of (width, maps)."""
        assert self.recall is not None
        self.recall.weight[:, -meanings_CM.shape[1] :, 0, 0, 0] = meanings_CM / _GAIN

    @torch.no_grad()
    def learn_peaks(self, peaks_VM: Tensor) -> None:
        """Remember what is usual for the largest value of each map, from those of some volumes (V, maps)."""
        self.usual.copy_(peaks_VM.mean(dim=0))
        self.spread.copy_(peaks_VM.std(dim=0, correction=0).clamp(min=_EPSILON))

    def learn_statistics(self, learns: bool) -> None:
        """Normalise by the batch and remember its statistics, or (as it starts) by those that are remembered."""
        for module in self.modules():
            if isinstance(module, _StoredNorm):
                module.learns = learns

    def _tell(self, drawn: Tensor, *, edge: int) -> Tensor:
        """What the maps show in each cube of some cells: their largest value, their mean, and whether they stand out.

        Maps that find little agree on a value a little above nothing wherever something could be; what there is to
        tell is then within a hundredth of that value, and the first two hardly show it.
        """
        soft = (drawn / _SOFTNESS).tanh()
        usual, spread = (rearrange(value, "m -> m 1 1 1") for value in (self.usual, self.spread))
        standing = (F.max_pool3d(drawn, edge) - usual) / (_STANDS_OUT * spread)
        return torch.cat([F.max_pool3d(soft, edge), F.avg_pool3d(soft, edge), standing.tanh()], dim=1)

    def _descend(self, channels_BCXYZ: Tensor) -> list[Tensor]:
        """What is seen at each halving, the finest first."""
        # Channels last more than halves the time of such convolutions on a CPU.
        x = channels_BCXYZ.contiguous(memory_format=torch.channels_last_3d)
        levels = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        return levels

    def _draw(self, levels: list[Tensor]) -> Tensor:
        assert self.up is not None
        assert self.maps is not None
        x = levels[-1]
        for step, finer in zip(self.up, levels[-2::-1], strict=True):
            x = step(x, finer)
        hidden, last = self.maps[:-1](x), self.maps[-1]
        assert isinstance(last, nn.Conv3d)
        bias = None if last.bias is None else last.bias.float()
        with torch.autocast(x.device.type, enabled=False):  # peaks differ by less than bf16 can tell
            return F.conv3d(hidden.float(), last.weight.float(), bias)


class _WayBack(nn.Module):
    """Joins what a coarser level knows to a finer one."""

    def __init__(self, deep: int, fine: int) -> None:
        super().__init__()
        self.lift = nn.Conv3d(deep, fine, 1)
        self.unit = _ResidualUnit(fine)

    def forward(self, deep_BCxyz: Tensor, fine_BCxyz: Tensor) -> Tensor:
        lifted = F.interpolate(self.lift(deep_BCxyz), scale_factor=2, mode="nearest")
        joined: Tensor = self.unit(fine_BCxyz + lifted)
        return joined


class _ResidualUnit(nn.Module):
    """Two convolutions beside a way past them; the second is of one voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        second, norm, _ = _convolution(channels, channels, edge=1)
        self.branch = nn.Sequential(*_convolution(channels, channels, edge=3), second, norm)

    def forward(self, x_BCxyz: Tensor) -> Tensor:
        return F.relu(x_BCxyz + self.branch(x_BCxyz), inplace=True)


class _StoredNorm(nn.Module):
    """Batch normalisation by remembered statistics: no volume depends on its batch, nor on what a crop leaves out.

    Attributes:
        learns: Whether it normalises by the batch, and remembers, while in training mode.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.learns = False

    def forward(self, x_BCxyz: Tensor) -> Tensor:
        learns = self.learns and self.training
        return F.batch_norm(x_BCxyz, self.mean, self.variance, self.weight, self.bias, learns, _MOMENTUM, _EPSILON)


def _silent(before: int, after: int) -> nn.Conv3d:
    """A linear map of each voxel that starts at zero."""
    layer = nn.Conv3d(before, after, kernel_size=1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _convolution(before: int, after: int, *, edge: int, stride: int = 1) -> list[nn.Module]:
    kernel = nn.Conv3d(before, after, edge, stride=stride, padding=edge // 2, bias=False)
    return [kernel, _StoredNorm(after), nn.ReLU(inplace=True)]
