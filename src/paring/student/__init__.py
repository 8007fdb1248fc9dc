"""Where students come from: named ones of the task, or the model itself made smaller."""
