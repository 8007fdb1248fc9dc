"""The rows of the size benchmark: the net, and the passes that make its file small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.distill.teachers import Teachers
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.prune.vocabulary import Vocabulary
from paring.quantize.embedding import Embedding
from paring.share.embedding import CodedEmbedding
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.share.spacing import Spacing
from paring.student.use import Use

DISTILLED = Response(temperature=4.0)
SPECIAL, UNKNOWN = (0, 100, 101, 102, 103), 100  # tokens of the encoder


@dataclass(frozen=True)
class Row:
    """`taught`: the task is `size_tasks.taught`'s, in which the net learns; else the net's own. `images`: calibrated
    on so many training images and not on 512. `batch`: images of a step, and not 128. `teachers`: nets that teach."""

    net: str
    passes: tuple[Pass, ...] = ()
    taught: bool = False
    images: int | None = None
    batch: int | None = None
    teachers: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether a seed makes a difference."""
        return any("train" in step.requirements() for step in self.passes if not isinstance(step, Vocabulary))


def obs(sparsities: dict[str, float]) -> tuple[Pass, ...]:
    """Each layer at a sparsity of its own."""
    return tuple(Obs(sparsity=sparsity, include=(name,)) for name, sparsity in sparsities.items())


def rows() -> dict[str, Row]:
    """Row name -> row."""
    return lenets() | resnet() | encoder() | deep()


def lenets() -> dict[str, Row]:
    """Deep Compression's small nets on MNIST."""
    found = {"lenet-300-100": Row("lenet300"), "lenet-5": Row("lenet5")}
    for slope in (1e-9, 1.5e-9, 2e-9, 3e-9, 5e-9):
        found[f"lenet-300-100 coded, no training, slope {slope:g}"] = Row("lenet300", (RateDistortion(slope=slope),))
    for slope in (4e-10, 6e-10, 1e-9, 3e-9):
        found[f"lenet-5 coded, no training, slope {slope:g}"] = Row("lenet5", (RateDistortion(slope=slope),))
    found["lenet-300-100 spacing, no training"] = Row("lenet300", (Spacing(slope=1e-10),))
    found["lenet-300-100 kmeans 32, no training"] = Row("lenet300", (Kmeans(num_values=32),))
    for zeros, pressure, passes in (
        ({"fc1": 0.9, "fc2": 0.7, "fc3": 0.3}, 0.03, 12),
        ({"fc1": 0.92, "fc2": 0.85, "fc3": 0.4}, 0.03, 12),
        ({"fc1": 0.9, "fc2": 0.7, "fc3": 0.3}, 0.033, 24),
        ({"fc1": 0.91, "fc2": 0.8, "fc3": 0.35}, 0.045, 24),
    ):
        steps = (Use(student="lenet300"), *obs(zeros), paid(pressure, passes, 3e-3))
        name = f"lenet-300-100 trained, {100 * zeros['fc1']:.0f} % zeros, pressure {pressure:g}, {passes} passes"
        found[name] = Row("lenet300", steps, taught=True)
    for pressure, passes in ((0.02, 4), (0.05, 8)):
        zeros = obs({"conv1": 0.3, "conv2": 0.88, "ip1": 0.97, "ip2": 0.8})
        steps = (Use(student="lenet5"), *zeros, paid(pressure, passes, 1e-3))
        found[f"lenet-5 trained, pressure {pressure:g}, {passes} passes"] = Row("lenet5", steps, taught=True)
    gradual = Magnitude(sparsity=0.92, schedule=Cubic(epochs=5, objective=DISTILLED))
    found["lenet-300-100 deep compression"] = Row(
        "lenet300",
        (gradual, Finetune(epochs=2, objective=DISTILLED), Kmeans(num_values=32),
         Finetune(epochs=1, learning_rate=2e-4, objective=DISTILLED)),
    )  # fmt: skip
    return found


def paid(pressure: float, epochs: int, learning_rate: float, step: float = 1.0, **other: object) -> EntropyQat:
    """Distilled training under the price of its bits."""
    settings: dict[str, Any] = {"objective": DISTILLED, "bias_bits": 5, **other}
    return EntropyQat(pressure=pressure, epochs=epochs, learning_rate=learning_rate, step=step, **settings)


def resnet() -> dict[str, Row]:
    """ResNet-20 on CIFAR-10 as JPEGs."""
    found = {"resnet-20": Row("resnet20")}
    for slope in (1e-8, 3e-8, 6e-8):
        found[f"resnet-20 coded, no training, slope {slope:g}"] = Row("resnet20", (RateDistortion(slope=slope),))
    for pressure, batch in ((0.02, 128), (0.022, 128), (0.025, 64), (0.03, 64)):  # its shortcuts are left alone
        name = f"resnet-20 trained, pressure {pressure:g}, batches of {batch}"
        found[name] = Row("resnet20", (paid(pressure, 5, 2e-3, 1.5, precision="bf16"),), batch=batch)
    better = paid(0.023, 5, 2e-3, 1.5, precision="bf16", objective=Teachers(("resnet56",), DISTILLED))
    found["resnet-20 taught by resnet-56, pressure 0.023"] = Row("resnet20", (better,), teachers=("resnet56",))
    for pressure in (0.026, 0.03):  # the second half of the steps is for the weights to settle
        step = replace(better, pressure=pressure, rise=0.1, end=0.5, bias_bits=6)
        name = f"resnet-20 taught by resnet-56, pressure {pressure:g} until half"
        found[name] = Row("resnet20", (step,), teachers=("resnet56",))
    return found


def encoder() -> dict[str, Row]:
    """MiniLM-L6 on SST-2: the words that occur in the training phrases, their rows and all Linears by their bits."""
    found: dict[str, Row] = {}
    words = Vocabulary(corpus=("train",), keep=SPECIAL, unknown=UNKNOWN, nearest=True)
    for slope, of_rows in ((1.5e-11, 2e-10), (2.5e-11, 2e-10), (4e-11, 3e-10)):
        passes = (words, CodedEmbedding(slope=of_rows), RateDistortion(slope=slope))
        found[f"encoder coded, no training, slope {slope:g}, of rows {of_rows:g}"] = Row("encoder", passes)
    plain = (replace(words, nearest=False), Embedding(num_bits=4), RateDistortion(slope=5e-11))
    found["encoder coded, no training, slope 5e-11"] = Row("encoder", plain)  # its rows evenly in 4 bits
    return found


def deep() -> dict[str, Row]:
    """AlexNet's and VGG-16's channels on CIFAR-10 as JPEGs."""
    found: dict[str, Row] = {}
    for name, net, zeros, best in (
        ("alexnet-shaped", "alexnet", 1 - 1 / 9, 3e-10), ("vgg-16-shaped", "vgg16", 1 - 1 / 13, 5e-11)
    ):  # fmt: skip
        gradual = Cubic(epochs=2, learning_rate=5e-4, objective=DISTILLED, precision="bf16")
        found[f"{name} pruned alone, gradually"] = Row(net, (Magnitude(sparsity=zeros, schedule=gradual),))
        for slope in (2e-11, 2.1e-11, 2.2e-11, 5e-11, 2e-10, 3e-10, 3e-9):
            found[f"{name} coded, no training, slope {slope:g}"] = Row(net, (RateDistortion(slope=slope),))
        for slope in (2.3e-11, 2.2e-10):
            more = Row(net, (RateDistortion(slope=slope),), images=2048)
            found[f"{name} coded, no training, slope {slope:g}, 2,048 images"] = more
        thin = Channels(importance="obs", pruning_ratio=0.3, scope="global")
        recovered = Finetune(epochs=2, learning_rate=5e-4, objective=DISTILLED, precision="bf16")
        for how, slope in (("coded", best), ("coded finer", best / 2)):
            found[f"{name} 30 % of the channels gone, recovered, {how}"] = Row(
                net, (thin, recovered, RateDistortion(slope=slope))
            )
    return found
