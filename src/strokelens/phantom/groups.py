"""Which group a simulated patient belongs to: told by the seed alone, by chance or in exact shares."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from strokelens.errors import CohortError
from strokelens.phantom.lesion import Group

GROUP_SHARES: Final[dict[Group, float]] = {"LVO": 0.5, "Non-LVO": 0.4, "WIS": 0.1}
"""How many patients of a mixed cohort belong to each group."""

Shares = Mapping[Group, int]
"""How many of each group there are among as many patients as the numbers add up to."""

_MOST = 1000


def group_of(seed: int) -> Group:
    """The group that a seed has in a mixed cohort, drawn by `GROUP_SHARES`.

    >>> sorted({group_of(seed) for seed in range(40)})
    ['LVO', 'Non-LVO', 'WIS']
    """
    groups, shares = zip(*GROUP_SHARES.items(), strict=True)
    chosen: Group = groups[int(np.random.default_rng([seed, 1]).choice(len(groups), p=shares))]
    return chosen


def shares_of(text: str) -> Shares:
    """LVO:Non-LVO:WIS as in 77:60:15; `CohortError` when these are no three numbers of which one is above 0.

    >>> shares_of("77:60:15")
    {'LVO': 77, 'Non-LVO': 60, 'WIS': 15}
    """
    cells = text.split(":")
    numbers = [int(cell) for cell in cells if cell.strip().isdecimal() and int(cell) <= _MOST]
    if len(cells) != len(GROUP_SHARES) or len(numbers) != len(cells) or not any(numbers):
        raise CohortError(f"groups are LVO:Non-LVO:WIS as in 77:60:15, whole numbers up to {_MOST}, not {text[:40]!r}")
    return dict(zip(GROUP_SHARES, numbers, strict=True))


def group_in(seed: int, shares: Shares) -> Group:
    """The group of a seed in a cohort of these shares: the one that lags most behind its share, from seed 0 on.

    So the groups of any run of seeds are within 1 of their shares, exact where the run is as long as the shares add up
    to, and a patient's group does not depend on how many there are.

    >>> [group_in(seed, {"LVO": 2, "Non-LVO": 1, "WIS": 0}) for seed in range(6)]
    ['LVO', 'Non-LVO', 'LVO', 'LVO', 'Non-LVO', 'LVO']
    """
    total = sum(shares.values())
    given = dict.fromkeys(shares, 0)
    place = seed % total
    for step in range(1, place + 2):
        chosen = max(shares, key=lambda group: shares[group] * step - given[group] * total)
        given[chosen] += 1
    return chosen
