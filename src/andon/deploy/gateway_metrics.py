"""``/metrics``: the counters of all workers in the Prometheus text format, whichever worker is asked.

Every worker writes its counters to a file now and then; who is scraped adds its own of this moment. Series carry the
worker as a label, so that a worker that was restarted looks like the counter reset that it is. Labels are bounded: no
id, unit or input ever is one.

>>> from andon.deploy.meter import Meter
>>> meter = Meter()
>>> meter.answered("decisions", 200)
>>> print(render({"w0": meter}).splitlines()[2])
andon_requests_total{worker="w0",endpoint="decisions",status="200"} 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from andon.deploy.meter import Histogram, Meter, meter_path, read_meter
from andon.store.files import replace_file

__all__ = ["Scraper", "render"]

_COUNTERS: tuple[tuple[str, str, Callable[[Meter], float]], ...] = (
    ("andon_repeated_requests_total", "Requests whose id had been answered before.", lambda m: m.repeated),
    ("andon_id_conflicts_total", "Requests whose id had been used with another x.", lambda m: m.conflicts),
    ("andon_handed_over_total", "Requests handed to the worker that keeps their id.", lambda m: m.handed_over),
    (
        "andon_refused_requests_total",
        "Requests that reached no endpoint: no HTTP, too large, too slow.",
        lambda m: m.refused,
    ),
    ("andon_feedback_rows_total", "Rows of feedback recorded.", lambda m: m.feedback),
    ("andon_log_failures_total", "Frames that the log could not take.", lambda m: m.log_failures),
    ("andon_log_shed_rows_total", "Answers that were given and not recorded.", lambda m: m.shed),
    ("andon_log_bytes_total", "Bytes of decisions written to the log.", lambda m: m.log_bytes),
    ("andon_model_errors_total", "Rows on which a model failed.", lambda m: m.model_errors),
    ("andon_shadow_offered_total", "Rows offered to shadows.", lambda m: m.shadow_offered),
    ("andon_shadow_dropped_total", "Rows that shadows were too slow for.", lambda m: m.shadow_dropped),
)
_GAUGES: tuple[tuple[str, str, Callable[[Meter], float]], ...] = (
    ("andon_queue_rows", "Rows that wait for an answer.", lambda m: m.queue_rows),
    ("andon_ids_remembered", "Ids in the idempotency index.", lambda m: m.ids_remembered),
    ("andon_log_backlog_bytes", "Bytes of the log that wait for the disk.", lambda m: m.log_backlog),
    ("andon_log_shed_unsettled_rows", "Shed answers that the log does not tell of yet.", lambda m: m.shedding),
    ("andon_connections", "Open connections.", lambda m: m.connections),
    ("andon_route_epoch", "The epoch of the route in force.", lambda m: m.route_epoch),
    ("andon_versions_loaded", "Versions that are loaded.", lambda m: len(m.loaded)),
    ("andon_start_time_seconds", "When the worker started, seconds since 1970.", lambda m: m.started),
)


def render(meters: Mapping[str, Meter]) -> str:
    """The page; ``meters`` by the worker's name."""
    lines: list[str] = []
    lines += _table(meters, "andon_requests_total", "Answers by endpoint and status.", ("endpoint", "status"))
    lines += _table(meters, "andon_decisions_total", "New decisions by whom and arm.", ("decided_by", "arm"))
    for kind, series in (("counter", _COUNTERS), ("gauge", _GAUGES)):
        for name, text, value in series:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f'{name}{{worker="{worker}"}} {_number(value(meter))}' for worker, meter in meters.items()]
    lines += _histogram(meters, "andon_decision_seconds", "Time from request to answer.", lambda m: m.latency)
    lines += _histogram(meters, "andon_batch_rows", "Rows in one call of a model.", lambda m: m.batches)
    return "\n".join(lines) + "\n"


def _table(meters: Mapping[str, Meter], name: str, text: str, labels: tuple[str, str]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} counter"
    for worker, meter in meters.items():
        table = meter.requests if labels[0] == "endpoint" else meter.decisions
        for key, count in sorted(table.items()):
            first, _, second = key.partition(",")
            yield f'{name}{{worker="{worker}",{labels[0]}="{first}",{labels[1]}="{second}"}} {count}'


def _histogram(meters: Mapping[str, Meter], name: str, text: str, of: Callable[[Meter], Histogram]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} histogram"
    for worker, meter in meters.items():
        histogram = of(meter)
        counts = histogram.cumulative()
        for bound, count in zip(histogram.bounds, counts, strict=False):
            yield f'{name}_bucket{{worker="{worker}",le="{_number(bound)}"}} {count}'
        yield f'{name}_bucket{{worker="{worker}",le="+Inf"}} {counts[-1]}'
        yield f'{name}_sum{{worker="{worker}"}} {_number(histogram.sum)}'
        yield f'{name}_count{{worker="{worker}"}} {counts[-1]}'


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


class Scraper:
    """Publishes one worker's counters in ``run_dir`` and reads those of the others. ``gauge`` gives this worker's."""

    def __init__(self, run_dir: Path, index: int, workers: int, gauge: Callable[[], Meter]) -> None:
        self._run_dir = run_dir
        self._index = index
        self._workers = workers
        self._gauge = gauge
        self._last = b""

    def publish(self) -> None:
        """Write this worker's counters, if they changed. Raises ``Unavailable``."""
        body = msgspec.json.encode(self._gauge())
        if body != self._last:
            replace_file(meter_path(self._run_dir, self._index), body, sync=False)
            self._last = body

    def page(self) -> str:
        """The whole page."""
        meters: dict[str, Meter] = {}
        for index in range(self._workers):
            found = self._gauge() if index == self._index else read_meter(meter_path(self._run_dir, index))
            if found is not None:
                meters[f"w{index}"] = found
        return render(meters)
