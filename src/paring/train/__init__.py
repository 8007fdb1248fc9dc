"""The one training loop. Whatever is learned here is learned from an Objective."""

from paring.train.checkpoint import Carried
from paring.train.loop import count, fit
from paring.train.settings import Schedule, Training

__all__ = ["Carried", "Schedule", "Training", "count", "fit"]
