"""Relevance propagation as the papers write it: a layer as a dense matrix, each output's relevance shared by a loop.

Bach et al. 2015; Montavon et al. 2017 and 2019. For one output k a rule sees the weights w_i of its row, the inputs x_i
and what is not of the input, B; it answers which share of R_k each input gets. All in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Row = Float[np.ndarray, "i"]
Shares = Callable[[Row, Row, float], Row]
"""From the weights and the inputs of one output, and its bias, to the share of each input."""


@dataclass(frozen=True)
class Affine:
    """y = W x + b of one instance, all axes flattened."""

    weights: Float[np.ndarray, "k i"]
    bias: Float[np.ndarray, "k"]

    def scaled(self, scale: Float[np.ndarray, "k"], shift: Float[np.ndarray, "k"]) -> "Affine":
        """What a norm makes of it that multiplies each output and adds to it: a (W x + b) + s."""
        return Affine(self.weights * scale[:, None], self.bias * scale + shift)

    def shared(
        self, shares: Shares, x: Float[np.ndarray, "i"], relevance: Float[np.ndarray, "k"]
    ) -> Float[np.ndarray, "i"]:
        """Σ_k share_ki R_k, output by output."""
        found = np.zeros(x.shape)
        for row, bias, each in zip(self.weights, self.bias, relevance, strict=True):
            found += shares(row, x, float(bias)) * each
        return found


def affine_of(layer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Affine:
    """The matrix of a layer, from what it answers to each unit vector and to zeros."""
    size = int(np.prod(shape))
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        columns = layer(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1) - bias
    return Affine(columns.numpy().T, bias.numpy())


def epsilon(value: float, *, dropped: bool = False) -> Shares:
    """x_i w_i / (Σ x w + B + ε·sign)."""

    def shares(w: Row, x: Row, bias: float) -> Row:
        y = (x * w).sum() + (0.0 if dropped else bias)
        shared: Row = x * w / (y + (value if y >= 0 else -value))
        return shared

    return shares


def gamma(value: float, *, dropped: bool = False, stabiliser: float = 1e-6) -> Shares:
    """(x_i w_i + γ (x_i w_i)^σ) / (y + γ Σ (x w)^σ + γ B^σ + ε σ), where t^σ is t where it has the sign σ of y."""

    def shares(w: Row, x: Row, bias: float) -> Row:
        terms, rest = x * w, 0.0 if dropped else bias
        y = terms.sum() + rest
        sign = np.sign(y)
        alike = np.where(np.sign(terms) == sign, terms, 0)
        rest_alike = rest if np.sign(rest) == sign else 0.0
        shared: Row = (terms + value * alike) / (y + value * (alike.sum() + rest_alike) + stabiliser * (sign or 1))
        return shared

    return shares


def alpha_beta(alpha: float, beta: float, *, dropped: bool = False) -> Shares:
    """α (x_i w_i)⁺ / (Σ (x w)⁺ + B⁺) − β (x_i w_i)⁻ / (Σ (x w)⁻ + B⁻); a part that is empty gives nothing."""

    def shares(w: Row, x: Row, bias: float) -> Row:
        terms, rest = x * w, 0.0 if dropped else bias
        found = np.zeros(terms.shape)
        for weight, part, more in (
            (alpha, np.maximum(terms, 0), max(rest, 0)),
            (-beta, np.minimum(terms, 0), min(rest, 0)),
        ):
            below = part.sum() + more
            if below != 0:
                found += weight * part / below
        return found

    return shares


def box(low: Row, high: Row) -> Shares:
    """(x_i w_i − l_i w_i⁺ − h_i w_i⁻) / Σ of these."""

    def shares(w: Row, x: Row, bias: float) -> Row:
        terms = x * w - low * np.maximum(w, 0) - high * np.minimum(w, 0)
        shared: Row = terms / terms.sum() if terms.any() else terms
        return shared

    return shares


def flat(w: Row, x: Row, bias: float) -> Row:
    """1 / n for each of the n inputs that an output sees; here by weights that are not 0, as drawn ones are."""
    seen = np.where(w != 0, 1.0, 0.0)
    return seen / seen.sum() if seen.any() else seen


def w_square(w: Row, x: Row, bias: float) -> Row:
    """w_i² / Σ w²."""
    return w**2 / (w**2).sum() if w.any() else w


def reference(values: Row, stabiliser: float) -> Shares:
    """(x_i − ref_i) w_i / (Σ x w + B + ε·sign)."""

    def shares(w: Row, x: Row, bias: float) -> Row:
        y = (x * w).sum() + bias
        shared: Row = (x - values) * w / (y + (stabiliser if y >= 0 else -stabiliser))
        return shared

    return shares
