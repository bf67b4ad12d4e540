"""Predictions against the truth of a cohort: a row a case, tables a group and class, and the folder that holds them."""
