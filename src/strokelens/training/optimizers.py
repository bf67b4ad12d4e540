"""How weights move: the rules of the settings, and how their rate shrinks."""

from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from strokelens.settings.schema import Optimizer, Schedule

Scheduler = ReduceLROnPlateau | StepLR

_KERAS_EPS = 1e-7


def optimizer_of(settings: Optimizer, weights: Iterable[nn.Parameter], *, rate: float | None = None) -> optim.Optimizer:
    """The rule over these weights, at the settings' rate or another; its ε is Keras's 1e-7, as the ancestor's was.

    >>> type(optimizer_of(Optimizer(name="sgd", momentum=0.9), [nn.Parameter()])).__name__
    'SGD'
    """
    lr, decay = rate or settings.learning_rate, settings.weight_decay
    weights = list(weights)
    match settings.name:
        case "adam":
            return optim.Adam(weights, lr, settings.betas, _KERAS_EPS, decay)
        case "adamw":
            return optim.AdamW(weights, lr, settings.betas, _KERAS_EPS, decay)
        case "sgd":
            return optim.SGD(weights, lr, settings.momentum, weight_decay=decay, nesterov=settings.nesterov)
        case "rmsprop":
            return optim.RMSprop(
                weights, lr, alpha=_decay(settings, 0.9), eps=_KERAS_EPS, weight_decay=decay, momentum=settings.momentum
            )
        case "adadelta":
            return optim.Adadelta(weights, lr, _decay(settings, 0.95), _KERAS_EPS, decay)


def _decay(settings: Optimizer, kerass: float) -> float:
    return kerass if settings.rho is None else settings.rho


def scheduler_of(settings: Schedule, optimizer: optim.Optimizer) -> Scheduler | None:
    """What shrinks the rate; None where it is constant. `step` has no least rate in torch: `stepped` keeps it."""
    match settings.kind:
        case "plateau":
            return ReduceLROnPlateau(
                optimizer, factor=settings.factor, patience=settings.patience, min_lr=settings.least
            )
        case "step":
            return StepLR(optimizer, settings.patience, settings.factor)
        case "constant":
            return None


def stepped(scheduler: Scheduler, loss: float, *, least: float) -> None:
    """Shrink the rate where it is time: after an epoch with this validation loss; never below the least."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(loss)
    else:
        scheduler.step()
    for group in scheduler.optimizer.param_groups:
        group["lr"] = max(group["lr"], least)
