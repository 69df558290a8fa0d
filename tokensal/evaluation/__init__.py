"""Is the map worth believing? Metrics, the prompts they are measured on, and what comes out.

A metric is its file and one line in this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokensal.evaluation.curves import ABPC, Deletion, Insertion
from tokensal.evaluation.datamodels import LDS, Infidelity
from tokensal.evaluation.erasure import Comprehensiveness, Sufficiency, TopKDrop
from tokensal.evaluation.localisation import GoldMass, PointingGame, Recall, ReciprocalRank, TopKHit
from tokensal.evaluation.randomisation import Randomisation, RandomTarget
from tokensal.evaluation.sensitivity import MaxSensitivity

METRICS: Mapping[str, Any] = {  # in the order of tables
    metric.name: metric
    for metric in (
        PointingGame, TopKHit, Recall, GoldMass, ReciprocalRank,
        Deletion, Insertion, ABPC, Comprehensiveness, Sufficiency, TopKDrop,
        LDS, Infidelity, MaxSensitivity, Randomisation, RandomTarget,
    )
}  # fmt: skip
