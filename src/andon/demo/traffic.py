"""Sends the story's cases when their time comes, and their labels when those do, and moves the story's clock.

The clock is the workspace's, so that all processes live in the same hour; it moves in steps, each only when everything
of the step before has been answered. So on a slow machine the story takes longer, and what happens in it stays the same.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from andon.core.clock import SECOND
from andon.demo.cases import Case
from andon.demo.stage import Stage
from andon.errors import Unavailable
from andon.store.segment import stream_end, streams

__all__ = ["Traffic"]

#: The story's clock moves by what passes in so many seconds of wall time.
_STEP_SECONDS = 0.02
#: The story's clock waits for the controller when it has measured nothing newer than passes in so many seconds.
_BEHIND_SECONDS = 1.6
#: The controller runs at idle priority: on a machine that is busy with something else it may take long.
_PATIENCE_SECONDS = 300.0


class Traffic:
    """The cases of one story. ``statuses`` counts the answers by HTTP status; ``answered`` holds each id's first answer.

    ``look`` is called between sendings, about five times a second, with the story's time.
    """

    def __init__(
        self,
        stage: Stage,
        cases: Sequence[Case],
        *,
        label_delay_us: int,
        patience: int,
        look: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stage = stage
        self._cases = deque(cases)
        self._labels: deque[tuple[int, Case]] = deque()
        self._delay = label_delay_us
        self._look = look
        self._looked = 0.0
        self._marks: deque[tuple[int, dict[str, int]]] = deque()
        self._measured_us = 0
        self._patience = patience
        self._step_us = round(_STEP_SECONDS * stage.rate * SECOND)
        project = stage.project.charter.project
        self._decide = f"/v1/projects/{project}/decisions"
        self._feed = f"/v1/projects/{project}/feedback"
        self.sent = 0
        self.labels_sent = 0
        self.statuses: Counter[int] = Counter()
        self.first: Counter[str] = Counter()

    def run_until(self, time_us: int, *, done: Callable[[], bool] = lambda: False) -> None:
        """Let the story run up to ``time_us``, or until ``done`` says so at a look."""
        stage = self._stage
        while (now := stage.now) < time_us:
            begun = time.monotonic()
            now = min(now + self._step_us, time_us)
            stage.move(now)
            self._send(self._due(now))
            self._send_labels(now)
            if begun - self._looked > 0.2:
                self._looked = begun
                stage.tend()
                self._let_others_work()
                self._look(now)
                if done():
                    break
            time.sleep(max(0.0, _STEP_SECONDS - (time.monotonic() - begun)))

    def pace(self, rate: float) -> None:
        """From now on at most so many seconds of the story pass in one."""
        self._stage.rate = rate
        self._step_us = round(_STEP_SECONDS * rate * SECOND)

    def settle(self, seconds: float = 20.0) -> None:
        """Wait, with the clock held, until the controller has taken in everything that was sent."""
        workspace = self._stage.project.workspace

        def quiet() -> bool:
            tables = [name for name in workspace.log.tables() if name.startswith("decisions/")]
            return sum(workspace.log.rows(name) for name in tables) >= self.sent

        self._stage.until(quiet, seconds, "the decision log did not take in what was sent")

    def _due(self, now: int) -> list[Case]:
        due = []
        while self._cases and self._cases[0].time_us <= now:
            due.append(self._cases.popleft())
        return due

    def _send(self, due: list[Case]) -> None:
        if not due:
            return
        answers = self._stage.client.post(self._decide, [{"id": case.id, "x": case.x} for case in due])
        for answer in answers:
            self.statuses[answer.status] += 1
            if answer.status not in (200, 202):
                raise Unavailable(f"the gateway answered {answer.status} to a case: {answer.body}")
            self.first["person" if answer.status == 202 else answer.body["decided_by"]] += 1
        self.sent += len(due)
        self._labels.extend((case.time_us + self._delay, case) for case in due)

    def _send_labels(self, now: int) -> None:
        due = []
        while self._labels and self._labels[0][0] <= now:
            due.append(self._labels.popleft())
        if due:
            body = [
                {"id": case.id, "kind": "label", "value": case.result, "time": time_us / SECOND}
                for time_us, case in due
            ]
            answer = self._stage.client.post(self._feed, [body])[0]
            if answer.status != 200:
                raise Unavailable(f"the gateway answered {answer.status} to labels: {answer.body}")
            self.labels_sent += len(due)

    def _let_others_work(self) -> None:
        """The story's clock stands still while the simulated people or the controller are too far behind it."""
        if self._is_behind():
            said = "the reviewers or the controller did not catch up"
            self._stage.until(lambda: not self._is_behind(), _PATIENCE_SECONDS, said)

    def _is_behind(self) -> bool:
        return self._waiting() > self._patience or self._unmeasured_us() > _BEHIND_SECONDS * self._stage.rate * SECOND

    def _waiting(self) -> int:
        counts = self._stage.project.workspace.items.counts()
        return counts.get("open", 0) + counts.get("taken", 0)

    def _unmeasured_us(self) -> int:
        """How much of the story has passed since the controller had last measured everything that was in the log."""
        workspace, now = self._stage.project.workspace, self._stage.now
        ends = {stream: stream_end(workspace.wal_dir / stream) for stream in streams(workspace.wal_dir)}
        if now > (self._marks[-1][0] if self._marks else 0) + 5 * self._step_us:
            self._marks.append((now, ends))
        reached = workspace.windows.offsets("late")
        while self._marks and all(reached.get(stream, 0) >= end for stream, end in self._marks[0][1].items()):
            self._measured_us = self._marks.popleft()[0]
        return now - (self._measured_us or now)
