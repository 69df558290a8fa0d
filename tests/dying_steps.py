"""What engines call, killed in the middle of its work, once."""

from __future__ import annotations

from dying import die_once

from tokensal.integrations.datatrove import AttributeDocuments
from tokensal.integrations.ray import AttributeBatches


class DyingDocuments(AttributeDocuments):
    """Dies after the first document of a task."""

    def run(self, data, rank=0, world_size=1):
        for number, document in enumerate(super().run(data, rank, world_size)):
            if number == 1:
                die_once()
            yield document


class DyingBatches(AttributeBatches):
    """Dies at the second batch of an actor."""

    calls = 0

    def __call__(self, batch):
        self.calls += 1
        if self.calls == 2:
            die_once()
        return super().__call__(batch)
