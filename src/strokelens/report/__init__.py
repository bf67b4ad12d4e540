"""Figures and pages that show a finding; nothing here computes a score."""
