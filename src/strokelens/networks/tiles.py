"""Where the tiles of a slice begin."""


def origins(side: int, tile: int, step: int) -> list[int]:
    """The first pixels of tiles along one axis: every `step` from 0 on, and one that ends with the side.

    >>> origins(512, 128, 100), origins(64, 64, 16)
    ([0, 100, 200, 300, 384], [0])
    """
    last = max(0, side - tile)
    return [*range(0, last, step), last]
