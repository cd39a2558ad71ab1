"""How far data may go (``privacy.stays``, ``privacy.hosts``): one answer for every way out.

``WAYS`` names all ways on which something leaves the machine by itself or by a command; what each carries, and which part
of the charter lets it. A test walks them, and the table of ``docs/privacy.md`` is held against them.

>>> [Reach("organisation").allows(host) for host in ("127.0.0.1", "10.0.0.7", "example.org")]
[True, True, False]
>>> Reach("organisation", ("example.org",)).allows("EXAMPLE.org"), Reach("device").allows("10.0.0.7")
(True, False)
"""

from __future__ import annotations

import ipaddress

import msgspec

from andon.core.record import Stays

__all__ = ["HERE", "WAYS", "Reach", "Way", "inside", "is_loopback"]

_INSIDE = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
)


class Way(msgspec.Struct, frozen=True):
    """A way out: its name, what goes there, and whether that is about single cases (``cases``) or only figures."""

    name: str
    carries: str
    cases: bool


#: Every way out that there is.
WAYS = (
    Way("events", "each decision as two CloudEvents (`checklist.logging.events`)", True),
    Way("remote model", "the inputs of each row to `andon.Remote`, in training and live", True),
    Way("load", "rows to a gateway elsewhere (`andon load URL`)", True),
    Way("replay", "logged rows to another line's gateway (`andon deploy replay --to URL`)", True),
    Way("notices", "names of alarms, figures and times (`alarms.notify`)", False),
)


class Reach(msgspec.Struct, frozen=True):
    """``stays`` is the widest circle; ``hosts`` are names (or addresses) that count as inside the organisation."""

    stays: Stays
    hosts: tuple[str, ...] = ()

    def allows(self, host: str, *also: str) -> bool:
        """Whether data may go to a host: a name or an address. ``also`` are other names that it goes by.

        A name is inside only where it is named in ``hosts``: what it leads to may change.
        """
        if self.stays == "anywhere":
            return True
        if is_loopback(host):
            return True
        named = {name.casefold() for name in self.hosts}
        return self.stays == "organisation" and (inside(host) or any(one.casefold() in named for one in (host, *also)))

    def why_not(self) -> str:
        """What to do where it does not, for the end of a sentence."""
        if self.stays == "device":
            return "privacy.stays is 'device'"
        return "privacy.stays is 'organisation'; give a private address, or name the host in checklist.privacy.hosts"


HERE = Reach("device")
"""Nothing leaves this machine: what counts where nobody says how far data may go."""


def inside(host: str) -> bool:
    """Whether a host is this machine or a private address; a name is not looked up, since names change.

    >>> [inside(host) for host in ("localhost", "::1", "192.168.1.9", "::ffff:10.0.0.1", "8.8.8.8", "example.org", "127.1")]
    [True, True, True, True, False, False, False]
    """
    address = _address(host)
    if address is None:
        return host == "localhost"
    return any(address in network for network in _INSIDE)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address.

    >>> [is_loopback(host) for host in ("localhost", "127.8.8.8", "::ffff:127.0.0.1", "10.0.0.1", "LOCALHOST.example")]
    [True, True, True, False, False]
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
