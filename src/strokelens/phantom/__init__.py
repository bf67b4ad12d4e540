"""Simulated patients with known truth: anatomy, haemodynamics, scanner."""
