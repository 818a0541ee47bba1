from __future__ import annotations

import pytest

from domain import db
from domain.storage_estimates import storage_gib
from tests import factories
from vader_core.memory_table import training_memory
from vader_core.plan import plan
from vader_core.spec import Adapter, Checkpoints

pytestmark = pytest.mark.usefixtures("settings")


def test_without_history_it_goes_by_the_size_of_the_adapter() -> None:
    """Three layouts of the adapter, and two checkpoints with the optimiser's two moments each."""
    table = training_memory("wan2.1-t2v-1.3b")
    assert table is not None
    spec = factories.spec(budget={"max_steps": 20}).model_copy(
        update={
            "base_model": "wan2.1-t2v-1.3b@1",
            "adapter": Adapter(rank=2 * table.adapter_rank),
            "checkpoints": Checkpoints(every_steps=20, keep_last=3),
        }
    )
    with db.read() as session:
        basis, gib = storage_gib(session, spec, plan(spec, []), [])
    assert basis == "analytic"
    assert gib == pytest.approx(2 * table.bytes.adapter * (3 + 2 * 3) / 2**30)
