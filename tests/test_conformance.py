"""Every pass alone and every ordered pair, on nets with residuals, missing biases, shared weights and dict inputs.

`EXPECTED` is the committed table: a pair that is not in it must work. `make test` runs each pass alone on every net and
one pair for each ordered pair of families; `make conformance` runs the whole matrix.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from itertools import product

import pytest

from paring.allocate.step import Allocate
from paring.catalog import PASSES
from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.errors import BudgetError, NothingToDoError, OrderError
from paring.factorize.embedding import Embedding
from paring.factorize.rank import Rank
from paring.factorize.spatial import Spatial
from paring.factorize.svd import Svd
from paring.factorize.tucker import Tucker
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.heads import Heads
from paring.prune.iterative import Iterative
from paring.prune.layers import Layers
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.neurons import Neurons
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.prune.vocabulary import Vocabulary
from paring.prune.wanda import Wanda
from paring.quantize.adaround import Adaround
from paring.quantize.binary import Binary
from paring.quantize.cast import Cast
from paring.quantize.dynamic import Dynamic
from paring.quantize.embedding import Embedding as EmbeddingIntegers
from paring.quantize.equalize import Equalize
from paring.quantize.gptq import Gptq
from paring.quantize.qat import Qat
from paring.quantize.reestimate import Reestimate
from paring.quantize.smooth import Smooth
from paring.quantize.static import Static
from paring.quantize.ternary import Ternary
from paring.quantize.weight_only import WeightOnly
from paring.share.embedding import CodedEmbedding
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.share.spacing import Spacing
from paring.student.shrink import Shrink
from paring.student.use import Use
from paring.testing import check_pass
from tests.nets import TASKS

SAMPLES: dict[str, Pass] = {
    "prune.magnitude": Magnitude(sparsity=0.5),
    "prune.channels": Channels(pruning_ratio=0.25),
    "prune.wanda": Wanda(sparsity=0.5),
    "prune.obs": Obs(sparsity=0.5),
    "prune.movement": Movement(sparsity=0.5, schedule=Cubic(epochs=1, begin=0.3, interval=1)),
    "prune.heads": Heads(pruning_ratio=0.5),
    "prune.neurons": Neurons(pruning_ratio=0.25),
    "prune.layers": Layers(pruning_ratio=0.4),
    "prune.vocabulary": Vocabulary(),
    "prune.iterative": Iterative(Magnitude(sparsity=0.5), rounds=2, recovery=Finetune(epochs=1)),
    "factorize.svd": Svd(rank=Rank(3)),
    "factorize.whitened_svd": WhitenedSvd(rank=Rank(3)),
    "factorize.tucker": Tucker(rank=Rank(3)),
    "factorize.spatial": Spatial(rank=Rank(3)),
    "factorize.embedding": Embedding(rank=Rank(3)),
    "quantize.static": Static(),
    "quantize.dynamic": Dynamic(),
    "quantize.weight_only": WeightOnly(num_bits=4),
    "quantize.gptq": Gptq(num_bits=4),
    "quantize.adaround": Adaround(num_bits=3, steps=20),
    "quantize.cast": Cast(),
    "quantize.smooth": Smooth(),
    "quantize.equalize": Equalize(),
    "quantize.reestimate": Reestimate(),
    "quantize.qat": Qat(num_bits=4),
    "quantize.ternary": Ternary(),
    "quantize.binary": Binary(stochastic=True),
    "quantize.embedding": EmbeddingIntegers(num_bits=4),
    "student.shrink": Shrink(width=0.5),
    "student.use": Use(student="small"),
    "finetune": Finetune(epochs=1, objective=Response()),
    "share.kmeans": Kmeans(num_values=8),
    "share.rate_distortion": RateDistortion(),
    "share.embedding": CodedEmbedding(),
    "share.spacing": Spacing(),
    "share.entropy_qat": EntropyQat(epochs=1),
    "allocate": Allocate(
        shrink=1.02, widths=(0.5,), ranks=(), precisions=("int8",), num_examples=32, samples=2, recovery=Finetune()
    ),
}
INTEGERS = "integer weights"
ROWS = "integer embeddings"
ZEROS = "zeros"
# (earlier, later) -> what the earlier one leaves that the later one cannot follow.
INTEGER_MAKERS = [name for name, step in SAMPLES.items() if INTEGERS in step.traits]
# These treat what is still in floats, or take whole blocks, rows or the model itself away.
AFTER_INTEGERS = {"quantize.cast", "quantize.embedding", "prune.layers", "prune.vocabulary", "student.use"}
ROW_MAKERS = ("quantize.embedding", "share.embedding")
ZERO_MAKERS = [f"prune.{name}" for name in ("magnitude", "wanda", "obs", "movement", "iterative")]
EXPECTED = {
    **{
        (earlier, later): INTEGERS
        for earlier in INTEGER_MAKERS
        for later in SAMPLES
        if later not in AFTER_INTEGERS and (earlier, later) != ("share.kmeans", "finetune")  # shared values learn
    },
    **{
        (earlier, later): ROWS
        for earlier in ROW_MAKERS
        for later in (*ROW_MAKERS, "factorize.embedding", "allocate", "prune.vocabulary")
    },
    **{("allocate", later): ROWS for later in ("quantize.embedding", "prune.vocabulary")},
    **{
        (earlier, later): ZEROS
        for earlier in ZERO_MAKERS
        for later in SAMPLES
        if later.startswith("factorize.") or later == "allocate"
    },
}
# The nets that have a layer for the pass, where not all of them do; on the others it finds nothing to do.
HOMES = {
    **{name: {"images"} for name in ("factorize.tucker", "factorize.spatial")},
    **{
        name: {"dict", "encoder"}
        for name in ("factorize.embedding", "quantize.embedding", "share.embedding", "prune.vocabulary")
    },
    **{name: {"encoder"} for name in ("prune.heads", "prune.layers")},
    "prune.neurons": {"encoder", "vectors"},
    "student.shrink": {"dict", "encoder", "images"},
}
PAIRS = list(product(SAMPLES, repeat=2))


ALL_NETS = os.environ.get("PARING_ALL_NETS", "0") != "0"  # each pair on every net: hours, where one net takes minutes


def nets_for(place: int, earlier: str, later: str) -> list[str]:
    """The nets for a pair: the next one in turn among those that have work for both, or all of the earlier one's."""
    first = HOMES.get(earlier, TASKS.keys())
    both = sorted(first & HOMES.get(later, TASKS.keys())) or sorted(first)
    return sorted(first) if ALL_NETS else [both[place % len(both)]]


WORKING = [
    (earlier, later, net)
    for place, (earlier, later) in enumerate(PAIRS)
    if (earlier, later) not in EXPECTED
    for net in nets_for(place, earlier, later)
]


def check_on(net: str, name: str, after: tuple[Pass, ...] = ()) -> None:
    if net in HOMES.get(name, TASKS):
        # A small net that was cut already may hold nothing that the sample's options make smaller: it says so.
        cut = name == "allocate" and after and after[0].name.startswith(("factorize.", "student.shrink"))
        with suppress(BudgetError) if cut else nullcontext():
            check_pass(SAMPLES[name], TASKS[net](), after=after)
        return
    if not after:
        with pytest.raises(NothingToDoError, match=name):
            check_pass(SAMPLES[name], TASKS[net]())
        return
    with suppress(NothingToDoError):  # unless the earlier pass has made something for it to do
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
    homes = HOMES.get(earlier, TASKS.keys()) & HOMES.get(later, TASKS.keys())
    check_on("images" if "images" in homes else min(homes), later, (SAMPLES[earlier],))


@pytest.mark.conformance_matrix
@pytest.mark.parametrize(("earlier", "later", "net"), WORKING)
def test_pair(earlier: str, later: str, net: str) -> None:
    check_on(net, later, (SAMPLES[earlier],))
