"""Assignment: stable, monotone, uniform, the same in every language; slices and thresholds of a compiled route."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from andon.core.record import Route
from andon.deploy.route import CompiledRoute, assign, compile_route, fraction, versions
from andon.errors import UsageError

DOCS = Path(__file__).parents[2] / "docs" / "deploy.md"

#: salt, unit, BLAKE2b-64 in hex. Published in docs/deploy.md; they never change.
VECTORS = [
    ("v2@7", "unit-1", "e99a98579058bd5d"),
    ("v2@7", "unit-2", "2db29156340951e4"),
    ("v2@7", "", "8d0deda72b6424a1"),
    ("", "unit-1", "692ae5bd56101e48"),
    ("v2@7", "Ünïcode-用户", "a54481fed8bef240"),
    ("v10@123", "3f1c9a70e2b84d55", "e34d13be6206338a"),
]


def route(**fields: Any) -> Route:
    base = Route(
        7, 0, 0, "maria", "canary", "", live="v1", candidate="v2", share=0.5, salt="v2@7", levels={"*": "full"}
    )
    return replace(base, **fields)


@pytest.mark.parametrize(("salt", "unit", "expected"), VECTORS)
def test_published_vectors(salt: str, unit: str, expected: str) -> None:
    assert f"{fraction(salt, unit):016x}" == expected


def test_the_docs_publish_these_vectors() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for _, unit, expected in VECTORS:
        assert re.search(rf"\| `?{re.escape(unit)}`? *\| `{expected}` *\|", text), (unit, expected)


shares = st.floats(1e-9, 1.0)
units = st.text(max_size=30)


@given(units, shares)
def test_assignment_is_stable(unit: str, share: float) -> None:
    assert assign(route(share=share), unit) == assign(route(share=share), unit)


@given(units, shares, shares)
def test_units_only_move_forward_as_the_share_grows(unit: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if assign(route(share=small), unit).arm == "candidate":
        assert assign(route(share=large), unit).arm == "candidate"


@given(units, shares)
def test_the_probability_is_that_of_the_arm(unit: str, share: float) -> None:
    found = assign(route(share=share), unit)
    assert found.probability == (share if found.arm == "candidate" else 1.0 - share)
    assert found.version == ("v2" if found.arm == "candidate" else "v1")


@given(units)
def test_a_share_of_one_is_everybody(unit: str) -> None:
    assert assign(route(share=1.0), unit).arm == "candidate"


@given(units, units, shares)
def test_the_request_stands_in_for_a_unit_and_is_not_sticky(unit: str, id: str, share: float) -> None:
    found = assign(route(share=share), None, id)
    assert not found.sticky and found.arm == assign(route(share=share), id).arm
    assert assign(route(share=share), unit, id) == assign(route(share=share), unit)


def test_assignment_is_uniform_at_every_share_and_salt() -> None:
    n = 20_000
    for salt in ("v2@7", "v3@19"):
        places = sorted(fraction(salt, f"unit-{i}") / 2**64 for i in range(n))
        distance = max(max((i + 1) / n - place, place - i / n) for i, place in enumerate(places))
        assert distance < 1.95 / n**0.5  # Kolmogorov-Smirnov, 0.1 %


def test_salts_draw_independently() -> None:
    n = 20_000
    both = sum(fraction("v2@7", f"u{i}") < 2**63 and fraction("v3@9", f"u{i}") < 2**63 for i in range(n))
    assert abs(both / n - 0.25) < 0.012


def test_without_a_candidate_or_a_share_the_live_version_answers() -> None:
    assert assign(route(candidate=None, share=0.0), "u").version == "v1"
    assert assign(route(share=0.0), "u").arm == "live"
    nobody = assign(route(live=None, candidate=None), "u")
    assert (nobody.arm, nobody.version, nobody.probability) == ("none", None, 1.0)


def test_a_first_version_answers_its_share_and_people_the_rest() -> None:
    found = {assign(route(live=None, share=0.5), f"u{i}") for i in range(64)}
    assert {(one.arm, one.version) for one in found} == {("none", None), ("candidate", "v2")}


@given(units, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(["v1", None]))
def test_a_compiled_route_assigns_like_the_route(unit: str, share: float, live: str | None) -> None:
    plain = route(share=share, live=live)
    compiled = compile_route(plain, [])
    assert compiled.assign(unit) == assign(plain, unit)
    assert compiled.assign(None, unit) == assign(plain, None, unit)


SLICED = {"older": "age >= 60", "abroad": "region = 'abroad'"}


def sliced(**levels: Any) -> CompiledRoute:
    named = {name: text for name, text in SLICED.items() if name in levels}
    thresholds = {"v1/older": 0.9, "v1/*": 0.8}
    plain = route(levels={"*": "partial", **levels}, slices=named, thresholds=thresholds)
    return compile_route(plain, ["region", "age"])


def test_the_first_slice_that_matches_gives_the_level() -> None:
    compiled = sliced(older="human", abroad="full")
    assert compiled.level(["abroad", 70]) == ("human", "older")
    assert compiled.level(["abroad", 50]) == ("full", "abroad")
    assert compiled.level(["home", 50]) == ("partial", "*")
    assert compiled.level([None, None]) == ("partial", "*")


def test_a_threshold_belongs_to_a_version_and_a_slice_and_to_no_other() -> None:
    compiled = sliced(older="partial", abroad="partial")
    assert compiled.threshold("v1", "older") == 0.9
    assert compiled.threshold("v1", "*") == 0.8
    assert compiled.threshold("v1", "abroad") is None
    assert compiled.threshold("v2", "*") is None and compiled.threshold(None, "*") is None


def test_slices_that_cannot_be_compiled_are_said() -> None:
    with pytest.raises(UsageError, match="'older' has a level but no predicate"):
        compile_route(route(levels={"*": "full", "older": "human"}), ["age"])
    with pytest.raises(UsageError):
        compile_route(route(levels={"older": "human"}, slices={"older": "age >="}), ["age"])
    with pytest.raises(UsageError):
        compile_route(route(levels={"older": "human"}, slices=SLICED), ["region"])


def test_versions_to_load() -> None:
    assert versions(route(warm=("v0", "v1"))) == ("v1", "v2", "v0")
    assert versions(route(live=None, candidate=None)) == ()


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_salt_and_unit_do_not_run_together(salt: str, unit: str, salt2: str, unit2: str) -> None:
    assume("\0" not in salt + unit + salt2 + unit2 and (salt, unit) != (salt2, unit2))
    assert fraction(salt, unit) != fraction(salt2, unit2)
