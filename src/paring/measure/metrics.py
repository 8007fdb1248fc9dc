"""The built-in figures of quality. Each takes all outputs and targets at once.

Outputs are logits: (n, classes, ...) for several classes, (n,) or (n, 1) for two; a Poisson rate is its logarithm.
torchmetrics takes two seconds to import, so only the figures that need it import it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from paring.core.metric import Metric
from paring.errors import ShapeError

Scores = Callable[[Tensor, Tensor], Tensor]
IGNORED = -100  # the target that torch's cross entropy leaves out


def _is_binary(outputs: Tensor) -> bool:
    return outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1)


def _flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both (n,), for figures with one output an example. Raises ShapeError."""
    if outputs.numel() != targets.numel() or not _is_binary(outputs):
        raise ShapeError(
            f"metric: outputs are {tuple(outputs.shape)}, targets {tuple(targets.shape)}; this figure takes one output "
            "an example, (n,) or (n, 1)."
        )
    return outputs.double().reshape(-1), targets.double().reshape(-1)


def _check_classes(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape[:1] + outputs.shape[2:] != targets.shape:
        raise ShapeError(
            f"metric: outputs are {tuple(outputs.shape)}, targets {tuple(targets.shape)}; outputs must be "
            "(n, classes, ...) and targets (n, ...), class numbers."
        )
    counted = targets[targets != IGNORED]
    if counted.numel() and not (float(counted.min()) >= 0 and float(counted.max()) < outputs.shape[1]):
        raise ShapeError(
            f"metric: targets hold class numbers from {counted.min():g} to {counted.max():g}, and outputs have "
            f"{outputs.shape[1]} classes. Number them from 0 to {outputs.shape[1] - 1}; what is not to count is "
            f"{IGNORED}."
        )


def _counted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Position by position, without those that are not to count: (m, classes) and (m,). Raises ShapeError."""
    _check_classes(outputs, targets)
    counts = targets.reshape(-1) != IGNORED
    return outputs.movedim(1, -1).reshape(-1, outputs.shape[1])[counts], targets.reshape(-1)[counts]


def _right(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the likeliest class is the target, (n,); over positions, their share."""
    if _is_binary(outputs):
        logits, wanted = _flat(outputs, targets)
        return ((logits > 0) == (wanted > 0.5)).double()
    _check_classes(outputs, targets)
    return _per_row((outputs.argmax(1) == targets).double(), targets != IGNORED, nothing=1.0)


def _nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """-log probability of the target, (n,), in nats."""
    if _is_binary(outputs):
        logits, wanted = _flat(outputs, targets)
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    _check_classes(outputs, targets)
    losses = functional.cross_entropy(outputs.double(), targets.long(), reduction="none", ignore_index=IGNORED)
    return _per_row(losses, targets != IGNORED, nothing=0.0)


def _poisson_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """exp(u) - u y, (n,), with u the log rate; log y! is left out, since it does not depend on the model."""
    log_rate, count = _flat(outputs, targets)
    return log_rate.exp() - log_rate * count


def _f1(outputs: Tensor, targets: Tensor) -> float:
    from torchmetrics.functional.classification import binary_f1_score, multiclass_f1_score

    if _is_binary(outputs):
        logits, wanted = _flat(outputs, targets)
        return float(binary_f1_score((logits > 0).long(), wanted.long()))
    counted, wanted = _counted(outputs, targets)
    return float(multiclass_f1_score(counted.argmax(1), wanted.long(), outputs.shape[1], average="macro"))


def _auc(outputs: Tensor, targets: Tensor) -> float:
    from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

    if _is_binary(outputs) or outputs.shape[1] == 2:
        logits = outputs if _is_binary(outputs) else outputs[:, 1] - outputs[:, 0]
        scores, wanted = _flat(logits, targets)
        if wanted.min() == wanted.max():
            return float("nan")  # one class only: there is nothing to rank
        # Its sigmoid step would tie large logits: ranks are what counts, so ranks are what it gets.
        ranks = torch.searchsorted(scores.sort().values, scores).double()
        return float(binary_auroc(ranks / len(ranks), wanted.long()))
    counted, wanted = _counted(outputs, targets)
    return float(multiclass_auroc(counted.double().softmax(1), wanted.long(), outputs.shape[1], average="macro"))


def _root_mean_square(outputs: Tensor, targets: Tensor) -> float:
    if outputs.numel() != targets.numel():
        raise ShapeError(f"rmse: outputs are {tuple(outputs.shape)} and targets {tuple(targets.shape)}.")
    return float((outputs.double().reshape(-1) - targets.double().reshape(-1)).square().mean().sqrt())


def calibration_ratio(outputs: Tensor, targets: Tensor, *, rate: Callable[[Tensor], Tensor] = torch.exp) -> float:
    """Predicted total over observed total; 1 is calibrated, 1.1 predicts 10 % too much.

    `rate` turns an output into what it predicts: `torch.exp` for a log rate, `torch.sigmoid` for a logit.
    """
    predicted, observed = _flat(outputs, targets)
    return float(rate(predicted).sum() / observed.sum())


def _calibration_error(outputs: Tensor, targets: Tensor) -> float:
    return abs(calibration_ratio(outputs, targets) - 1)


def _per_row(values: Tensor, counts: Tensor, *, nothing: float) -> Tensor:
    """The mean over a row's positions that count; `nothing` where none does, so that it makes no difference."""
    kept, counts = (values * counts).reshape(len(values), -1).sum(1), counts.reshape(len(counts), -1).sum(1)
    return torch.where(counts > 0, kept / counts.clamp(min=1), nothing)


def _mean(scores: Scores) -> Callable[[Tensor, Tensor], float]:
    return lambda outputs, targets: float(scores(outputs, targets).mean())


accuracy = Metric("accuracy", _mean(_right), per_example=_right)
f1 = Metric("f1", _f1)
auc = Metric("auc", _auc)
log_loss = Metric("log_loss", _mean(_nll), higher_is_better=False, unit="nats", per_example=_nll)
poisson_log_loss = Metric(
    "poisson_log_loss", _mean(_poisson_nll), higher_is_better=False, unit="nats", per_example=_poisson_nll
)
calibration_error = Metric("calibration_error", _calibration_error, higher_is_better=False)
rmse = Metric("rmse", _root_mean_square, higher_is_better=False)

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (accuracy, f1, auc, log_loss, poisson_log_loss, calibration_error, rmse)
}
