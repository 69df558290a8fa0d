"""The engine: one forward for all targets, batched vector-Jacobian products, bounded memory."""

from tokensal.engine.adapter import Adapter
from tokensal.engine.budget import Budget
from tokensal.engine.engine import Engine
from tokensal.engine.gradients import Gradients
from tokensal.engine.served import engine_of

__all__ = ["Adapter", "Budget", "Engine", "Gradients", "engine_of"]
