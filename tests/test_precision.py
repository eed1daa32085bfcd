"""TF32 where it is asked for, and only as long."""

import pytest
import torch

from genhmr.precision import WIDE, fast_bfloat16, fast_precision, tensor_cores


def test_narrow_models_keep_float32_on_a_gpu():
    assert fast_bfloat16("cuda") and fast_bfloat16("cuda", WIDE)
    assert not fast_bfloat16("cuda", WIDE - 1)
    assert fast_bfloat16("cpu", 8) == fast_bfloat16("cpu", 4096)


@pytest.mark.parametrize(
    ("device", "bf16", "inside"),
    [("cuda", False, "high"), ("cuda", True, "highest"), ("cpu", False, "highest")],
)
def test_products_are_tf32_on_a_gpu_without_bfloat16_until_the_block_ends(device, bf16, inside):
    for context in (tensor_cores, fast_precision):
        assert torch.get_float32_matmul_precision() == "highest"
        if device == "cuda" and bf16 and context is fast_precision:
            continue  # autocast warns where there is no GPU
        with pytest.raises(KeyError), context(device, bf16):
            assert torch.get_float32_matmul_precision() == inside
            raise KeyError
        assert torch.get_float32_matmul_precision() == "highest"
