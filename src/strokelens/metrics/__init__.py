"""How well a prediction agrees with the truth: one definition a name, the empty cases decided; numpy and scipy only."""
