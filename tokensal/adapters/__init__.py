"""The only modules that import `transformers`: loading models, and adapting them to what the engine needs."""

from tokensal.adapters.causal import CausalAdapter
from tokensal.adapters.loading import AnyAdapter, adapt, load
from tokensal.adapters.model import ModelAdapter
from tokensal.adapters.seq2seq import Seq2SeqAdapter
from tokensal.adapters.served import ServedAdapter

__all__ = ["AnyAdapter", "CausalAdapter", "ModelAdapter", "Seq2SeqAdapter", "ServedAdapter", "adapt", "load"]
