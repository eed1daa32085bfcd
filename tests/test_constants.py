"""Tables of numbers: made once, never by an inference mode that would forbid a gradient."""

import torch

from genhmr.constants import indices, table

CPU = torch.device("cpu")


def test_a_table_is_made_once_for_its_numbers_type_and_device():
    first = table(((1, 2), (3, 4)), torch.float32, CPU)
    assert first.tolist() == [[1.0, 2.0], [3.0, 4.0]] and first.dtype == torch.float32
    assert table(((1, 2), (3, 4)), torch.float32, CPU) is first
    assert table(((1, 2), (3, 4)), torch.float64, CPU) is not first
    assert indices((2, 0), CPU).tolist() == [2, 0] and indices((2, 0), CPU).dtype == torch.long


def test_a_table_first_asked_for_in_inference_mode_takes_part_in_a_backward_pass():
    with torch.inference_mode():
        factors = table((2.5, 3.5), torch.float32, CPU)
    x = torch.ones(2, requires_grad=True)
    (x * factors).sum().backward()
    assert x.grad.tolist() == [2.5, 3.5]
