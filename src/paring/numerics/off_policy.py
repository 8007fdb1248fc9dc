"""What a policy would have earned, from a log of another one.

Shapes: N examples, A arms. `arms_N` is what each got, `policy_N` what the policy would have given, `reward_N` what came
of it, `propensity_A` with which probability the log drew each arm. Every estimate is the mean of one term an example,
so that two policies can be compared example by example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paring.errors import SettingError, ShapeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def inverse_propensity(reward_N: Floats, arms_N: Ints, policy_N: Ints, propensity_A: Floats) -> Floats:
    """Terms (n,) whose mean is the policy's value: the reward where log and policy agree, over its probability.

    Raises: ShapeError for lengths that differ, SettingError for a probability outside (0, 1].
    Reference: Horvitz & Thompson 1952; for policies Li et al. 2011, arXiv:1003.5956.
    Example: arms drawn at 1/3, reward 6 under the policy's arm -> 18; under another arm -> 0.
    """
    _check(reward_N, arms_N, policy_N, propensity_A)
    return np.where(arms_N == policy_N, reward_N / propensity_A[arms_N], 0.0)


def doubly_robust(reward_N: Floats, arms_N: Ints, policy_N: Ints, propensity_A: Floats, foretold_NA: Floats) -> Floats:
    """Terms (n,): what is foretold of the policy's arm, and where the log agrees its error over the probability.

    Right on average if either the probabilities or `foretold_NA`, the expected reward of every arm, are right;
    `foretold_NA` must not have seen these examples' rewards.
    Raises: as `inverse_propensity`. Reference: Dudik, Langford & Li 2011, arXiv:1103.4601.
    """
    _check(reward_N, arms_N, policy_N, propensity_A)
    if foretold_NA.shape != (len(reward_N), len(propensity_A)):
        wanted = (len(reward_N), len(propensity_A))
        raise ShapeError(f"doubly_robust: foretold is {foretold_NA.shape}; it must be {wanted}: examples, arms.")
    rows = np.arange(len(reward_N))
    error = (reward_N - foretold_NA[rows, arms_N]) / propensity_A[arms_N]
    return foretold_NA[rows, policy_N] + np.where(arms_N == policy_N, error, 0.0)


def _check(reward_N: Floats, arms_N: Ints, policy_N: Ints, propensity_A: Floats) -> None:
    if not reward_N.shape == arms_N.shape == policy_N.shape or reward_N.ndim != 1:
        raise ShapeError(
            f"policy value: rewards {reward_N.shape}, arms {arms_N.shape}, policy {policy_N.shape} must be (n,) alike."
        )
    if not (np.all(propensity_A > 0) and np.all(propensity_A <= 1)):
        raise SettingError(f"policy value: probabilities {propensity_A.tolist()} must lie in (0, 1].")
    if len(arms_N) and max(arms_N.max(), policy_N.max()) >= len(propensity_A):
        raise ShapeError(f"policy value: an arm beyond the {len(propensity_A)} that have a probability.")
