"""The README of a folder, which is its card on the hub: what it holds, and for `datasets` where the rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CARD = """\
---
configs:
- config_name: default
  data_files: parts/*.parquet
tags:
- tokensal
---

# Which words answers came from

Token attributions of the model `{model}` by {methods}, computed by tokensal {version}.

Each row is one example and one method: the tokens of prompt and answer, and how much each earlier token contributed to
each token of the answer. Files say in their schema what each column holds; `run.json` has the settings.

```python
import tokensal

run = tokensal.load_run(".")  # this folder
for attribution in run:
    attribution.show()
```

`datasets.load_dataset` and `pandas.read_parquet` read the rows as they are.
"""


def card_of(settings: Mapping[str, Any]) -> str:
    """The README of a run of these settings."""
    methods = ", ".join(f"`{name}`" for name in settings.get("methods", {}))
    model = settings.get("model", {}).get("model", "")
    return CARD.format(model=model, methods=methods, version=settings.get("versions", {}).get("tokensal", ""))
