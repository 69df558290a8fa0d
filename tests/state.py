"""Snapshots of everything of the user's that tokensal could change: model, tokenizer, global settings of torch."""

from __future__ import annotations

import copy

import torch
import transformers as hf


def model_state(model: torch.nn.Module) -> dict[str, object]:
    """Everything about a model but the numbers: also of one whose weights accelerate loads when it runs."""
    modules = list(model.modules())
    named = model.named_parameters(remove_duplicate=False)
    return {
        "parameters": [(name, item.device, item.dtype, item.shape, item.requires_grad) for name, item in named],
        "buffers": [(name, buffer.device, buffer.dtype) for name, buffer in model.named_buffers()],
        "training": [module.training for module in modules],
        "forward": [module.forward for module in modules],
        "hooks": [hook_counts(module) for module in modules],
        "accelerate hook": [getattr(module, "_hf_hook", None) for module in modules],
        "config": copy.deepcopy(model.config.to_dict()),
        "generation config": model.generation_config.to_dict(),
        "attention": [module.config._attn_implementation for module in modules if hasattr(module, "config")],
    }


def hook_counts(module: torch.nn.Module) -> tuple[int, ...]:
    """How many hooks of each kind a module has."""
    kinds = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_backward_hooks")
    return tuple(len(getattr(module, kind)) for kind in kinds)


def user_state(model: torch.nn.Module, tokenizer: hf.PreTrainedTokenizerFast) -> dict[str, object]:
    """The state of a model with its weights and gradients, of a tokenizer, and of torch itself."""
    parameters = list(model.parameters())
    return {
        **model_state(model),
        "weights": [parameter.clone() for parameter in parameters],
        "gradients": [None if parameter.grad is None else parameter.grad.clone() for parameter in parameters],
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "tokenizer options": {key: str(value) for key, value in tokenizer.init_kwargs.items()},
        "padding side": tokenizer.padding_side,
        "random numbers": torch.get_rng_state(),
        "gradients enabled": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
    }


def assert_unchanged(before: dict[str, object], after: dict[str, object]) -> None:
    """Two snapshots are equal, tensors to the last bit."""
    assert before.keys() == after.keys()
    for name, value in before.items():
        pairs = zip(value, after[name], strict=True) if isinstance(value, list) else [(value, after[name])]
        for old, new in pairs:
            assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new, name
