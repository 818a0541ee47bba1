from __future__ import annotations

import pytest
import torch

from vader_core.library_errors import as_trainer_error

SHORTAGES = [
    (torch.OutOfMemoryError("CUDA out of memory."), "out_of_memory", "user", False),
    (MemoryError("No room."), "host_out_of_memory", "platform", True),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        "host_out_of_memory",
        "platform",
        True,
    ),
]


@pytest.mark.parametrize(("error", "code", "fault", "retryable"), SHORTAGES)
def test_a_shortage_is_that_of_the_gpu_or_of_the_machine(
    error: Exception, code: str, fault: str, retryable: bool
) -> None:
    found = as_trainer_error(error, of="trainer", need_less="Use less.")
    assert (found.code, found.fault, found.retryable) == (code, fault, retryable)
    assert found.hint == "Use less."
    assert str(error) in found.message


def test_what_is_not_known_is_a_fault_of_the_command() -> None:
    found = as_trainer_error(KeyError("what"), of="scorer", need_less="Use less.")
    assert (found.code, found.message) == ("internal", "KeyError: 'what'")
    assert "fault of the scorer" in found.hint
