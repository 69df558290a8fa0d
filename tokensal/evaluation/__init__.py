"""Is the map worth believing? Metrics, the cases they are measured on, and what comes out.

A metric is its file and one line here: the table is made of the classes that are imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tokensal.evaluation.metric import Metric as Metric

# In the order of tables.
# isort: off
from tokensal.evaluation.curves import Deletion as Deletion, Insertion as Insertion, ABPC as ABPC
from tokensal.evaluation.erasure import Comprehensiveness as Comprehensiveness, Sufficiency as Sufficiency
from tokensal.evaluation.erasure import TopKDrop as TopKDrop
from tokensal.evaluation.datamodels import LDS as LDS, Infidelity as Infidelity
from tokensal.evaluation.sensitivity import MaxSensitivity as MaxSensitivity
# isort: on

_CLASSES: list[Any] = [member for member in list(globals().values()) if inspect.isclass(member)]
METRICS: Mapping[str, type[Metric]] = {member.name: member for member in _CLASSES if hasattr(member, "paper")}
