"""Tensor in, tensor out: the maths of every technique. No modules, no I/O."""
