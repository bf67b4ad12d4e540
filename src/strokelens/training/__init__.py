"""Training: a cohort and settings → a model, with its history, and the same again from the same seed."""
