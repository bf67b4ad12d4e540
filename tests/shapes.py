"""The checker that `--jaxtyping-packages` wraps around every function under test: as mypy has it, an int is a float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
