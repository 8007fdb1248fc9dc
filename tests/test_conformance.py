"""Every pass alone and every ordered pair, on nets with residuals, missing biases, shared weights and dict inputs.

`EXPECTED` is the committed table: a pair that is not in it must work. `make test` runs each pass alone on every net and
one pair for each ordered pair of families; `make conformance` runs the whole matrix.
"""

from __future__ import annotations

from itertools import product

import pytest

from paring.catalog import PASSES
from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.errors import NothingToDoError, OrderError
from paring.factorize.embedding import Embedding
from paring.factorize.rank import Rank
from paring.factorize.spatial import Spatial
from paring.factorize.svd import Svd
from paring.factorize.tucker import Tucker
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.quantize.static import Static
from paring.testing import check_pass
from tests.nets import TASKS

SAMPLES: dict[str, Pass] = {
    "prune.magnitude": Magnitude(sparsity=0.5),
    "prune.channels": Channels(pruning_ratio=0.25),
    "factorize.svd": Svd(rank=Rank(3)),
    "factorize.whitened_svd": WhitenedSvd(rank=Rank(3)),
    "factorize.tucker": Tucker(rank=Rank(3)),
    "factorize.spatial": Spatial(rank=Rank(3)),
    "factorize.embedding": Embedding(rank=Rank(3)),
    "quantize.static": Static(),
    "finetune": Finetune(epochs=1, objective=Response()),
}
INTEGERS = "integer weights"
ZEROS = "zeros"
# (earlier, later) -> what the earlier one leaves that the later one cannot follow.
EXPECTED = {
    ("quantize.static", "prune.magnitude"): INTEGERS,
    ("quantize.static", "prune.channels"): INTEGERS,
    ("quantize.static", "quantize.static"): INTEGERS,
    ("quantize.static", "finetune"): INTEGERS,
    **{("quantize.static", name): INTEGERS for name in SAMPLES if name.startswith("factorize.")},
    **{("prune.magnitude", name): ZEROS for name in SAMPLES if name.startswith("factorize.")},
}
# The nets that have a layer for the pass, where not all of them do; on the others it finds nothing to do.
HOMES = {"factorize.tucker": {"images"}, "factorize.spatial": {"images"}, "factorize.embedding": {"dict"}}
PAIRS = list(product(SAMPLES, repeat=2))


WORKING = [
    (earlier, later, net)
    for (earlier, later), net in product(PAIRS, sorted(TASKS))
    if (earlier, later) not in EXPECTED and net in HOMES.get(earlier, TASKS)
]


def check_on(net: str, name: str, after: tuple[Pass, ...] = ()) -> None:
    if net in HOMES.get(name, TASKS):
        check_pass(SAMPLES[name], TASKS[net](), after=after)
        return
    with pytest.raises(NothingToDoError, match=name):
        check_pass(SAMPLES[name], TASKS[net](), after=after)


def family(name: str) -> str:
    return name.split(".")[0]


def one_per_family_pair() -> list[tuple[str, str]]:
    chosen: dict[tuple[str, str], tuple[str, str]] = {}
    for earlier, later in PAIRS:
        if (earlier, later) not in EXPECTED:
            chosen.setdefault((family(earlier), family(later)), (earlier, later))
    return list(chosen.values())


def test_every_pass_of_the_catalog_is_sampled() -> None:
    assert SAMPLES.keys() == PASSES.keys()


@pytest.mark.parametrize("net", sorted(TASKS))
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_alone(name: str, net: str) -> None:
    check_on(net, name)


@pytest.mark.parametrize(("earlier", "later"), sorted(EXPECTED))
def test_expected_order_errors(earlier: str, later: str) -> None:
    with pytest.raises(OrderError) as caught:
        check_pass(SAMPLES[later], TASKS["images"](), after=(SAMPLES[earlier],))
    message = str(caught.value)
    assert earlier in message and later in message
    assert SAMPLES[later].cannot_follow[EXPECTED[earlier, later]] in message


@pytest.mark.parametrize(("earlier", "later"), one_per_family_pair())
def test_one_pair_per_family(earlier: str, later: str) -> None:
    check_pass(SAMPLES[later], TASKS["images"](), after=(SAMPLES[earlier],))


@pytest.mark.conformance_matrix
@pytest.mark.parametrize(("earlier", "later", "net"), WORKING)
def test_pair(earlier: str, later: str, net: str) -> None:
    check_on(net, later, (SAMPLES[earlier],))
