"""How far a student's answers are from its teacher's.

Shapes: N answers (examples, or positions of them), C classes. Student and teacher come as logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_divergence(student_NC: Tensor, teacher_NC: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(teacher / T || student / T)`, mean over answers, (): Hinton et al. 2015, arXiv:1503.02531."""
    soft = F.kl_div(
        F.log_softmax(student_NC / temperature, dim=-1),
        F.log_softmax(teacher_NC / temperature, dim=-1),
        log_target=True,
        reduction="sum",
    )
    return temperature**2 * soft / max(1, len(student_NC))


def poisson_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL divergence, (), between Poisson counts of log rates `teacher` and `student`, of one shape.

    `p (log p - log q) - p + q`: the Poisson log loss at count p, less what the teacher itself has; 0 where they agree.
    """
    rate = teacher.exp()
    return (rate * (teacher - student) - rate + student.exp()).mean()


def decoupled_divergence(
    student_NC: Tensor, teacher_NC: Tensor, target_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(target class against the rest, among the other classes), both () and times T^2.

    Their weighting by the teacher's own doubt, `TCKD + (1 - p_target) NCKD`, is `soft_divergence`.
    Reference: Zhao et al. 2022, arXiv:2203.08679, equations 5 to 7.
    """
    student, teacher = student_NC / temperature, teacher_NC / temperature
    hit_NC = F.one_hot(target_N, student.shape[-1]).bool()
    target = _binary_kl(_target_logit(student, hit_NC), _target_logit(teacher, hit_NC))
    log_q = student.masked_fill(hit_NC, -torch.inf).log_softmax(-1)
    log_p = teacher.masked_fill(hit_NC, -torch.inf).log_softmax(-1)
    terms = (log_p.exp() * (log_p.masked_fill(hit_NC, 0.0) - log_q.masked_fill(hit_NC, 0.0))).masked_fill(hit_NC, 0.0)
    count = max(1, len(student))
    return temperature**2 * target.sum() / count, temperature**2 * terms.sum() / count


def _target_logit(logits_NC: Tensor, hit_NC: Tensor) -> Tensor:
    """Log odds of the target class against all others, (N,)."""
    return logits_NC[hit_NC] - logits_NC.masked_fill(hit_NC, -torch.inf).logsumexp(-1)


def _binary_kl(student_N: Tensor, teacher_N: Tensor) -> Tensor:
    p = teacher_N.sigmoid()
    agree = F.logsigmoid(teacher_N) - F.logsigmoid(student_N)
    differ = F.logsigmoid(-teacher_N) - F.logsigmoid(-student_N)
    return p * agree + (1 - p) * differ


def correlation_gaps(student_NC: Tensor, teacher_NC: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(between classes, within classes): 1 - Pearson correlation of the probabilities, mean over rows and columns.

    The first is invariant to scale and shift of a row, so the student need not match the teacher's confidence.
    Reference: Huang et al. 2022 (DIST), arXiv:2205.10536, equations 6 to 9, with their factor T^2.
    """
    student, teacher = (F.softmax(logits / temperature, dim=-1) for logits in (student_NC, teacher_NC))
    between = 1 - _pearson(student, teacher).mean()
    within = 1 - _pearson(student.T, teacher.T).mean()
    return temperature**2 * between, temperature**2 * within


def _pearson(a_RK: Tensor, b_RK: Tensor) -> Tensor:
    a, b = a_RK - a_RK.mean(-1, keepdim=True), b_RK - b_RK.mean(-1, keepdim=True)
    return F.cosine_similarity(a, b, dim=-1, eps=1e-8)
