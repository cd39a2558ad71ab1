"""Which sealed bundle answers a file, and what the route in force would do with its answers.

The live release is known from the route plane, so it is found with the database gone. Any other release or run is looked
up where releases are kept, unless the route names its bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Route
from andon.deploy.release import find_release
from andon.deploy.route import CompiledRoute, compile_or_people, in_force
from andon.errors import NotFound
from andon.model.bundle import Served, bundle_path, load_bundle
from andon.model.predictor import user_code
from andon.model.run import find_run

if TYPE_CHECKING:
    from andon.deploy.settings import GatewayConfig
    from andon.store.workspace import Workspace

__all__ = ["Answering", "choose"]


@dataclass(frozen=True)
class Answering:
    """A loaded model under its version, and the route compiled for its inputs. ``terms`` names what the route says of it."""

    version: str
    bundle: str
    served: Served
    route: CompiledRoute
    terms: str
    notes: tuple[str, ...] = ()


def choose(workspace: Workspace, config: GatewayConfig, wanted: str | None = None) -> Answering:
    """Load the live release, or the release or run that is ``wanted``; every byte of its bundle is checked.

    Raises ``NotFound`` when there is none, ``Corrupt`` when the bundle is not as it was sealed, ``Denied`` when it is a
    model on another server and rows may not go there.
    """
    route = in_force(workspace.routes.current(), config.safe_default)
    version = wanted or route.live
    if version is None:
        raise NotFound(
            "nothing is live, so no release answers by itself",
            hint="name one with --release, or make one live: andon deploy switch v1",
        )
    bundle = route.bundles.get(version) or _bundle(workspace, version)
    path = bundle_path(workspace.home, bundle)
    with user_code("loading the model", path / "model.py"):
        served = load_bundle(path, bundle, config.reach)
    compiled, fault = compile_or_people(route, served.contract.names)
    return Answering(version, bundle, served, compiled, _terms(compiled.route, version), (fault,) if fault else ())


def _bundle(workspace: Workspace, name: str) -> str:
    if name.startswith("r"):
        run = find_run(workspace, name)
        if run.status != "done":
            raise NotFound(f"run {run.id} {run.status}, so it has no model: {run.error}")
        return run.bundle
    return find_release(workspace, name).bundle


def _terms(route: Route, version: str) -> str:
    """A hash of everything in the route that bears on what becomes of this version's answers."""
    thresholds = {name: value for name, value in sorted(route.thresholds.items()) if name.startswith(f"{version}/")}
    kept = (route.levels, route.slices, thresholds, sorted(route.only or ()), route.only is None)
    said = msgspec.json.encode((kept, route.stopped, route.safe_default), order="deterministic")
    return blake2b(said, digest_size=16).hexdigest()
