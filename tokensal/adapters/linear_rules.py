"""Backward rules of linear layers, and of constants that are added.

A linear layer z = W x + b hands on to its input what its rule says of the gradient g of z. With the contributions
c_i = w_i x_i and c_b = b, relevance z·g is shared in proportion to

    gamma     c + γ·c⁺ where z > 0, and c + γ·c⁻ elsewhere: what speaks for the sign of z weighs more
    epsilon   divided by their sum, away from zero by ε: what z takes back of small sums goes to nobody

as zennit has them (`zennit.rules.Gamma` and `Epsilon`). Without bias and with ε = 0, relevance is conserved.
Since c⁺ of a sum is half of it and half of |W| |x|, γ takes one more matrix product.

With `constants`, what does not depend on the input is multiplied by a leaf of one where it is added: biases and learned
positions. The gradient of that leaf is their share of the score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor

from tokensal.adapters.operations import IN_PLACE, Function, named_arguments, varies
from tokensal.errors import UnsupportedModel

if TYPE_CHECKING:
    from tokensal.adapters.rules import RuleMode


def scaled(mode: RuleMode, constant: Tensor, total: Tensor) -> Tensor:
    """A constant, times the leaf of one; of several examples, times that of each in a total (rows, …).

    Raises:
        UnsupportedModel: the rows of the total are not the examples: they are tokens, or experts with a constant each.
    """
    ones = mode.constants
    if ones is None:
        return constant
    if ones.ndim:
        by_expert = constant.ndim == 3 and constant.shape[:2] == (len(ones), 1)
        if total.ndim < 3 or len(total) != len(ones) or by_expert:
            raise UnsupportedModel("What constants add to each of several examples cannot be told.")
        ones = ones.reshape(-1, *[1] * (total.ndim - 1))
    return constant * ones.to(constant)


def linear(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The handler of `linear`."""
    named = named_arguments(args, kwargs, "input", "weight", "bias")
    if not varies(named["input"]) or varies(named["weight"]):
        return function(**named)
    bias = named.get("bias")
    if mode.rules.epsilon or mode.rules.gamma:
        return _shared(mode, named["input"], named["weight"], bias)
    if mode.constants is None or bias is None:
        return function(**named)
    product: Tensor = function(named["input"], named["weight"])
    return product + scaled(mode, bias, product)


def addmm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The handler of `addmm`, in which GPT-2 and its like write a linear layer."""
    if len(args) != 3 or kwargs or not varies(args[1]) or varies(args[2]):
        return function(*args, **kwargs)
    if mode.rules.epsilon or mode.rules.gamma:
        return _shared(mode, args[1], args[2].T, args[0])
    if mode.constants is None:
        return function(*args, **kwargs)
    product = _by_row(mode, torch.mm(args[1], args[2]))
    return (product + scaled(mode, args[0], product)).flatten(0, -2)


def multiplied_by_a_constant(mode: RuleMode, function: Function, first: Tensor, second: Tensor) -> Any:
    """A matrix product that is a linear layer where its second factor is the constant; else that may be attention."""
    if not (mode.rules.epsilon or mode.rules.gamma):
        return function(first, second)
    if varies(first) and second.ndim == 2:
        return _shared(mode, first, second.T, None)
    mode.counts["packed"] += varies(first) or second.shape[-1] == 1
    return function(first, second)


def grouped(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The handler of a product by the packed weights of experts."""
    mode.counts["packed"] += 1
    return function(*args, **kwargs)


def _shared(mode: RuleMode, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W x + b, whose gradient follows the rules epsilon and gamma."""
    mode.counts["linear"] += 1
    gamma, product = mode.rules.gamma, F.linear(x, weight)
    constant = product.new_zeros(()) if bias is None else bias
    z = (product + constant).detach()
    sign = torch.where(z >= 0, 1.0, -1.0).to(z)
    shares = product + scaled(mode, constant, product)
    if gamma:
        supporting = (product + sign * F.linear(x.abs(), weight.abs())) / 2
        shares = shares + gamma * (supporting + scaled(mode, constant * (sign * constant > 0), product))
    total = shares.detach()
    total = total + mode.rules.epsilon * torch.where(total >= 0, 1.0, -1.0).to(z)
    ratio = torch.where(total == 0, 0, z / torch.where(total == 0, 1, total))
    return z + (shares - shares.detach()) * ratio


def add(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The handler of a sum or a difference, of which one side may be a constant."""
    in_place = function in IN_PLACE and not varies(args[0])  # into a tensor that others hold, such as zeros
    if mode.constants is None or len(args) < 2 or in_place or varies(args[0]) == varies(args[1]):
        return function(*args, **kwargs)
    [varying] = filter(varies, args[:2])
    terms = [scaled(mode, _as_tensor(term, varying), varying) if _is_constant(term) else term for term in args[:2]]
    return function(*terms, *args[2:], **kwargs)


def _by_row(mode: RuleMode, product: Tensor) -> Tensor:
    """A product (tokens, width) of all tokens of several examples, by example."""
    if mode.constants is None or not mode.constants.ndim:
        return product
    return product.view(len(mode.constants), -1, product.shape[-1])


def _as_tensor(term: Any, varying: Tensor) -> Tensor:
    return term.to(varying) if isinstance(term, Tensor) else varying.new_full((), term)


def _is_constant(term: Any) -> bool:
    """Whether a term is a share of the score: no mask of attention (4-d). What an ε adds to a scale goes to nobody."""
    if not isinstance(term, Tensor):
        return isinstance(term, int | float)
    return term.is_floating_point() and not term.requires_grad and 1 <= term.ndim <= 3
