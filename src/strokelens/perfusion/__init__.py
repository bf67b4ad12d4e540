"""From a study to perfusion maps, thresholds and mismatch; numpy and scipy only."""
