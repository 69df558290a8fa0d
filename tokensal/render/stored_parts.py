"""What all that a JSON result may hold consists of: strict objects and bounded numbers."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field

LARGEST = torch.finfo(torch.float32).max
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Exact = Annotated[float, Field(allow_inf_nan=False)]  # a float64
Integer = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Index = Annotated[int, Field(ge=0, le=2**63 - 1)]
Cell = Integer | Number | None


class Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
