"""Is the map worth believing? Metrics, the cases they are measured on, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping

from tokensal.evaluation.localisation import GoldMass, PointingGame, Recall, ReciprocalRank, TopKHit
from tokensal.evaluation.metric import Metric

METRICS: Mapping[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        PointingGame,
        TopKHit,
        Recall,
        GoldMass,
        ReciprocalRank,
    )
}
