"""Who answers one case and what its answer becomes: the route in force, compiled for every contract that is in use.

``place`` gives a case its version, its validated inputs and its level; ``settle`` turns what the model said into a
decision. Neither waits for anything, and neither reads a clock or a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from andon.core.record import Route, Scalar
from andon.core.redact import Words
from andon.data.contract import Contract
from andon.deploy.automation import decide, needs_model
from andon.deploy.batcher import Scored
from andon.deploy.case import Case
from andon.deploy.replica import Replica, Replicas
from andon.deploy.route import Assignment, CompiledRoute, compile_or_people, in_force
from andon.deploy.settings import GatewayConfig
from andon.errors import NotFound

__all__ = ["Placer", "Terms"]


class Terms:
    """One contract in use: its compiled validator and the route compiled for the order of its fields."""

    __slots__ = ("contract", "hash8", "route", "validate")

    def __init__(self, contract: Contract, route: CompiledRoute) -> None:
        self.contract = contract
        self.hash8 = contract.hash8
        self.validate: Callable[[Mapping[str, Any]], list[Scalar]] = contract.validator()
        self.route = route


class Placer:
    """Follows routes and places cases. ``stuck_seconds`` is how long one call of a model may hang before it is passed by.

    ``faults`` are sentences about the route in force (a slice that the contract cannot answer); ``mark`` is another
    object whenever another route came into force.
    """

    def __init__(self, config: GatewayConfig, replicas: Replicas, stuck_seconds: float) -> None:
        self.faults: dict[str, str] = {}
        self._config = config
        self._replicas = replicas
        self._stuck_seconds = stuck_seconds
        self._charter = config.contract
        self._contracts: dict[str, Contract] = {}
        self._terms: dict[int, tuple[Contract, Terms]] = {}
        self.mark = object()
        self.route = in_force(None, config.safe_default)
        self.follow(self.route)

    @property
    def epoch(self) -> int:
        """The epoch in force."""
        return self.route.epoch

    def follow(self, route: Route) -> None:
        """Put a route in force, from the next case on."""
        self.route = in_force(route, self._config.safe_default)
        self.faults = {}
        self.mark = object()
        self._terms = {}
        self._replicas.follow(self.route)

    def place(self, case: Case, nonce: str, now: float) -> tuple[Terms, Replica | None]:
        """Fill in the case's version, inputs, level and slice; returns its terms and the model to ask, if one is asked.

        Raises ``ContractError`` when the inputs do not fit, ``NotFound`` when it names a version that does not answer.
        """
        config = self._config
        if config.unit_column is not None:
            named = case.x.get(config.unit_column) if isinstance(case.x, dict) else None
            case.unit = None if named is None else str(named)
        assigned = self._assign(case, nonce)
        replica = self._replicas.get(assigned.version)
        terms = self.terms_for(assigned.version, replica)
        case.values = terms.validate(case.x)
        case.level, case.slice = terms.route.level(case.values)
        case.epoch = self.route.epoch
        case.version, case.arm, case.probability = assigned.version, assigned.arm, assigned.probability
        case.sticky = assigned.sticky and case.pin is None
        if assigned.version is None or not needs_model(terms.route.policy, case.level):
            return terms, None
        if replica is None:
            case.error = self._replicas.why_not(assigned.version)
        elif replica.hangs(now, self._stuck_seconds):
            case.error = Words(f"{assigned.version} has not answered for {now - replica.busy_since:.0f} seconds")
            return terms, None
        return terms, replica

    def settle(self, case: Case, terms: Terms, scored: Scored | None) -> None:
        """Decide. ``scored`` None means that no model was asked."""
        route = terms.route
        label = confidence = None
        if scored is not None:
            label, confidence = scored.label, scored.confidence
            case.scores, case.error = scored.scores, scored.error
        case.label, case.confidence = label, confidence
        outcome = decide(
            route.policy,
            case.level,
            label,
            confidence,
            route.threshold(case.version, case.slice),
            model=scored is not None,
        )
        case.status, case.decision, case.decided_by = outcome.status, outcome.decision, outcome.decided_by
        case.suggestion, case.shown = outcome.suggestion, outcome.shown
        case.audit = route.policy.audit_share
        if case.human is not None:
            case.status, case.decision, case.decided_by = "decided", case.human, "client"
            case.suggestion, case.shown = label, None

    def contracts(self) -> list[Contract]:
        """The contracts in use, the charter's first."""
        return [self._charter, *self._contracts.values()]

    def contract_of(self, version: str | None) -> Contract:
        """The contract that a version's inputs must fit; the charter's while it is not known."""
        replica = self._replicas.get(version)
        if replica is not None:
            return replica.contract
        return self._contracts.get(version or "", self._charter)

    def _assign(self, case: Case, nonce: str) -> Assignment:
        route = self.route
        if case.pin is not None:
            if case.pin not in (route.live, route.candidate):
                raise NotFound(f"version {case.pin} does not answer here; live is {route.live or 'none'}")
            return Assignment("none", case.pin, 1.0, False)
        return self._compiled().assign(case.unit, case.id or case.nonce or nonce)

    def _compiled(self) -> CompiledRoute:
        return self.terms_for(self.route.live, self._replicas.get(self.route.live)).route

    def terms_for(self, version: str | None, replica: Replica | None) -> Terms:
        """The contract that a version's inputs must fit, with the route compiled for it."""
        if replica is not None:
            contract = replica.contract
            if version is not None:
                self._contracts[version] = contract
        else:
            contract = self._contracts.get(version or "", self._charter)
        kept = self._terms.get(id(contract))
        if kept is None:
            # Two releases mostly have one contract, each a copy of its own: their rows then share all terms.
            alike = (terms for _, terms in self._terms.values() if terms.hash8 == contract.hash8)
            kept = contract, next(alike, None) or Terms(contract, self._compile(contract))
            self._terms[id(contract)] = kept
        return kept[1]

    def _compile(self, contract: Contract) -> CompiledRoute:
        compiled, fault = compile_or_people(self.route, contract.names)
        if fault:
            self.faults[f"route {self.route.epoch}"] = fault
        return compiled
