"""What may not be seen yet: a case that a person is still to decide blindly shows nobody what the model or others said.

That holds for every page and its JSON twin, whoever looks: the reviewer may be the one with the page open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from andon.errors import Unavailable

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["HIDDEN", "veiled", "veiled_ids"]

HIDDEN = "a person decides this case blindly and has not yet: what the model and others said is hidden until then"


def veiled(workspace: Workspace, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Of these decisions (``id``, ``status``, ``audit`` and ``level``) the ids of those that are hidden.

    A case that waits and is not in the inbox yet, or whose inbox cannot be read, is hidden unless people see the model's
    view at its level anyway: it may be blind.
    """
    asked = [row for row in rows if row["status"] == "pending" or row["audit"] > 0]
    if not asked:
        return set()
    try:
        items = workspace.items.many([str(row["id"]) for row in asked])
    except Unavailable:
        items = {}
    hidden = set()
    for row in asked:
        item = items.get(str(row["id"]))
        if item is None:
            open_, blind = True, row["audit"] > 0 or row["level"] != "assist"
        else:
            open_, blind = item.state != "decided", item.blind
        if open_ and blind:
            hidden.add(str(row["id"]))
    return hidden


def veiled_ids(workspace: Workspace, ids: Iterable[str]) -> set[str]:
    """Of these ids those whose case is in the inbox, blind and undecided. Raises ``Unavailable``."""
    found = workspace.items.many(ids)
    return {id for id, item in found.items() if item.state != "decided" and item.blind}
