"""What a run's figures are compared with: people, a quick rule, the release before, as far as that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.errors import AndonError
from andon.measure.estimate import Estimate
from andon.surface.view.models_kept import kept

if TYPE_CHECKING:
    from andon.config import Project
    from andon.model.run import Run

__all__ = ["BaselineRow", "baselines_of"]


class BaselineRow(msgspec.Struct, frozen=True):
    """What the figures are compared with, or why that is not known."""

    kind: str
    source: str
    metrics: dict[str, Estimate]
    slices: dict[str, dict[str, Estimate]] = {}


def baselines_of(project: Project, run: Run) -> tuple[BaselineRow, ...]:
    """The charter's baselines on the held-out rows of a run; what cannot be measured says why."""
    from andon.model.baseline import baselines

    def read() -> tuple[BaselineRow, ...]:
        try:
            found = baselines(project.workspace, project.charter, run)
        except AndonError as error:
            return (BaselineRow("baselines", f"not measured: {error.message}", {}),)
        return tuple(BaselineRow(one.kind, one.source, one.metrics, one.slices) for one in found)

    return kept(project, "baselines", (run.id,), read)
