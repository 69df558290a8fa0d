"""An OpenAI-compatible server over HTTP: requests, log-probabilities of prompts, and its tokenizer."""

from tokensal.adapters.server.completions import Completions, Scored
from tokensal.adapters.server.connection import Connection, Refused
from tokensal.adapters.server.tokenizer import ServerTokenizer, require_same_tokens

__all__ = ["Completions", "Connection", "Refused", "Scored", "ServerTokenizer", "require_same_tokens"]
