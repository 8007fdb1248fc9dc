"""The size study: Deep Compression's nets as entropy-coded files, without training and with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from paring.core.recipe import Pass, Recipe
from paring.data.digits import digits
from paring.data.files import data_folders
from paring.distill.response import Response
from paring.distill.teachers import Teachers
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.studies.deep_nets import deep_net
from paring.studies.lenets import lenet5, lenet300, lenet300_task, taught_lenet5
from paring.studies.study import Claim, Part, Study
from paring.studies.teachers import trained
from paring.train import Training

ABOUT = (
    "The nets that Deep Compression pruned, as `.paring` files: pruned, clustered and coded as its authors did; "
    "rounded to what its bits are worth, without training; and trained under the price of its bits. Sizes are of "
    "the whole file, graph included, times smaller than the ONNX file in floats; the metric is that of the ONNX "
    "file that the container gives back, bit for bit the one that is coded. AlexNet and VGG-16 are here in their "
    "convolutions' widths, trained on CIFAR-10 as JPEGs with 1,024 wide Linears: in full only, where those images are."
)
STAND_IN = " The digits of scikit-learn stand in for MNIST here, and LeNet-5 is left out: their files were not found."
DISTILLED = Response(temperature=4.0)
DEEP = {"alexnet": (2.2e-10, 2048), "vgg16": (2.3e-11, 2048)}  # slope, images that it is calibrated on


def size_study(data: str | Path | None = None, *, quick: bool = False, seed: int = 0) -> Study:
    """The study on MNIST; where that is nowhere, LeNet-300-100 alone on scikit-learn's digits."""
    names = {"baseline": "in floats"}
    there = data is not None or _found("mnist")
    if there:
        first = partial(lenet300, data, seed=seed, epochs=4 if quick else 20)
        parts: tuple[Part, ...] = (
            Part("lenet-300-100", first, lenet300_recipes(quick), names),
            Part("lenet-5", partial(lenet5 if quick else taught_lenet5, data, seed=seed), lenet5_recipes(quick), names),
        )
        if not quick and (data is not None or _found("cifar10-jpeg")):
            parts += tuple(
                Part(f"{name} shape", partial(deep_net, name, data, images), deep_recipes(name), names)
                for name, (_, images) in DEEP.items()
            )
    else:
        training = Training(epochs=20, learning_rate=2e-3, weight_decay=0.05)
        stand_in = partial(trained, lenet300_task(digits(), seed), training)
        parts = (Part("lenet-300-100", stand_in, lenet300_recipes(quick), names),)
    rows = {f"{part.name}: {recipe}" for part in parts for recipe in part.recipes}
    claims = tuple(claim for claim in CLAIMS if claim.row in rows)
    return Study("size", "How small a file can be", ABOUT + ("" if there else STAND_IN), parts, claims)


def _found(folder: str) -> bool:
    return any((home / folder).is_dir() for home in data_folders())


def lenet300_recipes(quick: bool) -> tuple[Recipe, ...]:
    """One a row."""
    first, second, third = (1, 1, 1) if quick else (15, 5, 2)  # epochs
    gradual = Magnitude(sparsity=0.92, schedule=Cubic(epochs=first, objective=DISTILLED))
    again, last = Finetune(second, objective=DISTILLED), Finetune(third, 2e-4, DISTILLED)
    paid = EntropyQat(pressure=0.01, epochs=2 if quick else 8, learning_rate=2e-3, objective=DISTILLED, bias_bits=5)
    return (
        Recipe((gradual, again, Kmeans(num_values=32), last), "deep compression"),
        *(Recipe((RateDistortion(slope=slope),), f"coded, no training, slope {slope:g}") for slope in (1e-9, 2e-9)),
        Recipe((*_zeros({"fc1": 0.965, "fc2": 0.9, "fc3": 0.6}), paid), "trained under the price of its bits"),
    )


def lenet5_recipes(quick: bool) -> tuple[Recipe, ...]:
    """One a row; `quick` leaves training out."""
    rows = [Recipe((RateDistortion(slope=slope),), f"coded, no training, slope {slope:g}") for slope in (5.5e-10, 1e-9)]
    if not quick:
        taught = Teachers(("cnn",), DISTILLED)
        paid = EntropyQat(pressure=0.01, step=1.0, epochs=8, learning_rate=1e-3, objective=taught, bias_bits=5)
        zeros = _zeros({"conv2": 0.8, "ip1": 0.95, "ip2": 0.7})
        rows.append(Recipe((*zeros, paid), "taught by a larger net under the price of its bits"))
    return tuple(rows)


def deep_recipes(name: str) -> tuple[Recipe, ...]:
    """One a row: rounded without training; `alexnet` also with three tenths of its channels gone, and recovered."""
    slope, _ = DEEP[name]
    coded = Recipe((RateDistortion(slope=slope),), f"coded, no training, slope {slope:g}")
    if name != "alexnet":
        return (coded,)
    thin = Channels(importance="obs", pruning_ratio=0.3, scope="global")
    recovered = Finetune(2, 5e-4, DISTILLED, precision="bf16")
    return coded, Recipe((thin, recovered, RateDistortion(slope=3e-10)), "30 % of the channels gone, recovered, coded")


def _zeros(sparsities: dict[str, float]) -> tuple[Pass, ...]:
    """Each layer at a sparsity of its own."""
    return tuple(Obs(sparsity=sparsity, include=(name,)) for name, sparsity in sparsities.items())


def _coded(row: dict[str, Any], base: dict[str, Any]) -> str:
    times = base["file_bytes"] / row["coded_bytes"]
    return f"{row['coded_bytes']:,} bytes, {times:.1f} times smaller, error {100 * (1 - row['metric']):.2f} %"


def _smaller(times: float, drop: float) -> Any:
    return lambda row, base: times * row["coded_bytes"] <= base["file_bytes"] and row["drop"] <= drop


CLAIMS = (
    Claim(
        "lenet-300-100: deep compression", "40 times smaller, no loss of accuracy (error 1.64 -> 1.58 %)", _coded,
        _smaller(40, 0.0),
    ),
    Claim("lenet-300-100: coded, no training, slope 2e-09", "40 times smaller (trained)", _coded, _smaller(40, 0.003)),
    Claim(
        "lenet-5: coded, no training, slope 5.5e-10", "39 times smaller, no loss of accuracy (error 0.80 -> 0.74 %)",
        _coded, _smaller(39, 0.0),
    ),
    Claim(
        "lenet-5: taught by a larger net under the price of its bits", "39 times smaller (error 0.80 -> 0.74 %)",
        _coded, _smaller(39, 0.0),
    ),
    Claim(
        "alexnet shape: coded, no training, slope 2.2e-10", "35 times smaller, no loss of accuracy (trained)", _coded,
        _smaller(35, 0.005),
    ),
    Claim(
        "vgg16 shape: coded, no training, slope 2.3e-11", "49 times smaller, no loss of accuracy (trained)", _coded,
        _smaller(49, 0.005),
    ),
)  # fmt: skip
