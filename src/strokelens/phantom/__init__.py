"""Simulated patients with known truth: anatomy, haemodynamics, scanner, and `patient.simulate`, which joins them."""
