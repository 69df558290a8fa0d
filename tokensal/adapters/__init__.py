"""The only rooms that know `transformers`: loading models, and mapping them onto what the engine needs."""

from tokensal.adapters.causal import CausalAdapter
from tokensal.adapters.loading import adapt, load

__all__ = ["CausalAdapter", "adapt", "load"]
