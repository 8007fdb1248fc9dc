"""Distillation: objectives by which a student learns from its teacher. One file per objective."""
