"""What `--dry-run` counts: every pass that trains, however its epochs are set."""

from __future__ import annotations

import pytest

from paring.cli.plan import epochs_of, plan_of
from paring.core.recipe import Pass, Recipe
from paring.distill.response import Response
from paring.finetune import Finetune
from paring.judge.bench import Bench
from paring.prune.iterative import Iterative
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.quantize.qat import Qat
from paring.share.entropy_qat import EntropyQat
from tests.nets import image_task

HALF = Magnitude(sparsity=0.5)


@pytest.mark.parametrize(
    ("step", "epochs"),
    [
        (HALF, 0),
        (Finetune(epochs=3), 3),
        (EntropyQat(epochs=5), 5),
        (Qat(epochs=2), 2),
        (Magnitude(sparsity=0.5, schedule=Cubic(epochs=7)), 7),
        (Movement(schedule=Cubic(epochs=4, begin=0.2)), 4),
        (Iterative(HALF, rounds=3, recovery=Finetune(epochs=2)), 6),
    ],
)
def test_epochs(step: Pass, epochs: int) -> None:
    assert epochs_of(step) == epochs


def test_what_works_longer_is_planned_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.cli.plan._pass_s", lambda task, split: 10.0)
    plain, solved, trained, taught = (
        Recipe((step,)) for step in (HALF, Obs(sparsity=0.5), Finetune(epochs=1), Finetune(objective=Response()))
    )
    plan = plan_of(image_task(), [plain, solved, trained, taught], Bench())
    seconds = [row["seconds"] for row in plan["recipes"][1:]]
    assert seconds == [seconds[0], seconds[0] + 30, seconds[0] + 40, seconds[0] + 50]
