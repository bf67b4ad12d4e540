"""Why a model found what it found in a case: relevance on the case's grid, what it is worth, and what is written of it.

Axes are those of `strokelens.prepare`: slices z, maps m with their colours as channels c, pixels i j; t maps of
relevance, one of each target and filter.
"""
