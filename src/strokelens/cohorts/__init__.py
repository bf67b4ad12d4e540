"""Disk to case and back, one file a layout; the only place that opens NIfTI."""
