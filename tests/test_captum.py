"""Captum, an independent implementation: input × gradient agrees where the definitions do."""

from __future__ import annotations

import pytest
import torch
from models import ARCHITECTURES, adapter

from tokensal import attribute

captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")

PROMPT, CONTINUATION = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("score", ["logit", "logprob"])
def test_input_x_gradient_is_captums_layer_gradient_x_activation(name, score):
    adapted = adapter(name)
    found = attribute(adapted, PROMPT, continuation=CONTINUATION, method="input_x_gradient", score=score)

    def forward(ids, target):
        logits = adapted.model(input_ids=ids, use_cache=False).logits[:, -1]
        return (logits if score == "logit" else logits.log_softmax(-1))[:, target]

    method = captum.LayerGradientXActivation(forward, adapted.model.get_input_embeddings())
    for row, target in enumerate(CONTINUATION):
        before = PROMPT + CONTINUATION[:row]
        expected = method.attribute(torch.tensor([before]), additional_forward_args=(target,))[0].sum(-1)
        torch.testing.assert_close(found.scores[row, : len(before)], expected.float(), rtol=1e-4, atol=1e-5)
