"""In what precision trainings compute: bfloat16 only where the processor multiplies it natively."""

from __future__ import annotations

import pytest
import torch

from colipri_training import precision


@pytest.mark.parametrize(
    ("native", "wanted", "expected"),
    [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_bfloat16_is_never_emulated(
    native: bool, wanted: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: native)
    layer = torch.nn.Linear(4, 4)
    with precision.native_bfloat16(wanted=wanted):
        assert layer(torch.ones(1, 4)).dtype == expected
    assert layer(torch.ones(1, 4)).dtype == torch.float32
