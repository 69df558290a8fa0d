"""An adapter that counts what a method costs: forwards, rows, backwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CountingAdapter:
    """Counts forwards, token rows through the body, target rows through the head, and backwards to the embeddings.

    Forwards that end before the first predictor, for others to go on from, are counted among all, and their rows apart.
    """

    inner: object
    forwards: int = 0
    token_rows: int = 0
    head_rows: int = 0
    backwards: int = 0
    prefixes: int = 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def original(self, example):
        original = self.inner.original(example)
        self.forwards += 1
        self.token_rows += len(example.sources)
        self.head_rows += original.forward.logits[..., 0].numel()
        return original

    def states(self, example, perturbed, states=None):
        self.forwards += 1
        self.prefixes += len(perturbed)
        self.token_rows += perturbed.embeds[..., 0].numel()
        return self.inner.states(example, perturbed, states)

    def forward(self, example, perturbed, states=None):
        forward = self.inner.forward(example, perturbed, states)
        self.forwards += 1
        self.token_rows += perturbed.embeds[..., 0].numel()
        self.head_rows += forward.logits[..., 0].numel()
        if perturbed.embeds.requires_grad:
            perturbed.embeds.register_hook(self._backward)
        return forward

    def _backward(self, gradient):
        self.backwards += 1
