"""The one training loop. Whatever is learned here is learned from an Objective."""

from paring.train.loop import count, fit
from paring.train.settings import Schedule, Training

__all__ = ["Schedule", "Training", "count", "fit"]
