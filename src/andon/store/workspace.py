"""The workspace: the one handle to everything a line remembers.

What the live path needs (log, routes, clock, blobs, contracts, key) is files; what people and controllers need
(journal, items, records, states, leases, windows) is in the database, which is opened on first use. So a gateway starts
and answers with the database gone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Field
from andon.errors import Conflict, Corrupt, NotFound, UsageError
from andon.store.blob import Blobs
from andon.store.clockfile import WorkspaceClock
from andon.store.files import create_file, unavailable
from andon.store.items import ItemTable
from andon.store.journal import Journal
from andon.store.leases import Leases
from andon.store.outbox import PeopleStream
from andon.store.records import Records
from andon.store.routes import RoutePlane
from andon.store.states import States
from andon.store.tables import Database
from andon.store.windows import WindowStore

if TYPE_CHECKING:
    from andon.store.log import DecisionLog

__all__ = ["Workspace"]

_FORMAT = 1
_OWN = 0o700  # what people were decided about is in it: it is open to the account that made it only
_HASH = re.compile(r"[0-9a-f]{16,64}")


class _Marker(msgspec.Struct):
    format: int
    created_wall_us: int


class _StoredContract(msgspec.Struct):
    fields: tuple[Field, ...]
    classes: tuple[str, ...]


class Workspace:
    """Everything one line remembers, in the directory ``home`` (and, where asked, a PostgreSQL database).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     workspace = Workspace.create(Path(folder) / ".andon")
    ...     _ = workspace.journal.append("create", "screening", "ann", "a new line")
    ...     print(workspace.journal.head()[0], workspace.routes.current(), len(workspace.unit_hash("patient 17")))
    ...     workspace.close()
    1 None 32
    """

    def __init__(self, home: Path, database_url: str | None = None) -> None:
        self.home = Path(home).absolute()
        self.wal_dir = self.home / "wal"
        self.run_dir = self.home / "run"
        self.key = _read_key(self.home / "key")
        self.clock = WorkspaceClock(self.home / "clock")
        self.db = Database(_url(self.home, database_url))
        self.journal = Journal(self.db, self.clock)
        self.items = ItemTable(self.db)
        self.records = Records(self.db, self.clock)
        self.states = States(self.db)
        self.leases = Leases(self.db, self.clock)
        self.windows = WindowStore(self.db)
        self.blobs = Blobs(self.home / "blobs")
        self.routes = RoutePlane(self.home / "routes")
        self.outbox = PeopleStream(self.wal_dir)
        self._log: DecisionLog | None = None

    @classmethod
    def create(cls, home: Path, *, database_url: str | None = None) -> Workspace:
        """Make a new workspace. Raises ``Conflict`` where there is one; one left half-made is completed."""
        home = Path(home).absolute()
        if (home / "workspace.json").exists():
            raise Conflict(f"{home} is a workspace already; open it, or choose another directory")
        try:
            home.mkdir(parents=True, exist_ok=True, mode=_OWN)
            home.chmod(_OWN)
            for folder in ("wal", "run", "blobs", "routes", "contracts", "bundles"):
                (home / folder).mkdir(exist_ok=True)
        except OSError as error:
            raise unavailable(f"the workspace {home} could not be created", error) from error
        create_file(home / "key", secrets.token_bytes(32), mode=0o600)
        Database.create(_url(home, database_url)).close()
        workspace = cls(home, database_url)
        marker = msgspec.json.encode(_Marker(_FORMAT, workspace.clock.wall()))
        if not create_file(home / "workspace.json", marker + b"\n"):
            workspace.close()
            raise Conflict(f"{home} has just been made a workspace by another process; open it")
        return workspace

    @classmethod
    def open(cls, home: Path, *, database_url: str | None = None) -> Workspace:
        """Open a workspace; its database is opened on first use. Raises ``NotFound``, ``Corrupt`` or ``UsageError``."""
        marker = Path(home) / "workspace.json"
        try:
            found = msgspec.json.decode(marker.read_bytes(), type=_Marker)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{home} is not a workspace; create one with `andon up`, or give another path") from None
        except OSError as error:
            raise unavailable(f"the workspace {home} could not be opened", error) from error
        except msgspec.DecodeError as error:
            raise Corrupt(f"{marker} cannot be read ({error}); restore it from a backup") from error
        if found.format > _FORMAT:
            raise UsageError(f"{home} was written by a newer release (format {found.format}); upgrade Andon to open it")
        return cls(Path(home), database_url)

    @property
    def log(self) -> DecisionLog:
        """The decision log; its library is imported on first use."""
        if self._log is None:
            from andon.store.log import DecisionLog

            self._log = DecisionLog(self.home / "log")
        return self._log

    def contract_path(self, hash_hex: str) -> Path:
        """Where a contract is kept, by the first 16 hex digits of its hash. Raises ``UsageError``."""
        if _HASH.fullmatch(hash_hex) is None:
            raise UsageError(f"a contract's hash: expected at least 16 hex digits, found {hash_hex!r}")
        return self.home / "contracts" / f"{hash_hex[:16]}.json"

    def save_contract(self, hash_hex: str, fields: Sequence[Field], classes: Sequence[str]) -> Path:
        """Keep a contract's fields and classes, so that frames can be read without the model. Raises ``Conflict``."""
        path = self.contract_path(hash_hex)
        contract = _StoredContract(tuple(fields), tuple(classes))
        if not create_file(path, msgspec.json.encode(contract) + b"\n") and self._contract(hash_hex) != contract:
            raise Conflict(f"{path} holds another contract under the same hash; the hash is not that of its content")
        return path

    def load_contract(self, hash_hex: str) -> tuple[tuple[Field, ...], tuple[str, ...]]:
        """(fields, classes) of a contract. Raises ``NotFound`` or ``Corrupt``."""
        contract = self._contract(hash_hex)
        return contract.fields, contract.classes

    def _contract(self, hash_hex: str) -> _StoredContract:
        path = self.contract_path(hash_hex)
        try:
            return msgspec.json.decode(path.read_bytes(), type=_StoredContract)
        except FileNotFoundError:
            raise NotFound(f"no contract has the hash {hash_hex[:16]}; was it written in another workspace?") from None
        except msgspec.DecodeError as error:
            raise Corrupt(f"{path} cannot be read ({error}); restore it from a backup") from error

    def unit_hash(self, unit: str) -> str:
        """The keyed hash that stands for a unit (a person, a device) in everything stored; "" stays ""."""
        return blake2b(unit.encode(), digest_size=16, key=self.key).hexdigest() if unit else ""

    def redaction_key(self) -> bytes:
        """The secret of hashed inputs (``privacy.redact``), drawn when it is first needed; without it nobody can try names.

        It is a file of its own, so that it can be drawn anew: whoever deletes it makes all later hashes new ones. Raises
        ``Unavailable`` or ``Corrupt``.
        """
        path = self.home / "redaction-key"
        if not path.exists():
            create_file(path, secrets.token_bytes(32), mode=0o600)
        return _read_key(path)

    def close(self) -> None:
        """Release the database and the mapped files."""
        self.db.close()
        self.routes.close()
        self.clock.close()


def _url(home: Path, database_url: str | None) -> str:
    return database_url or f"sqlite:///{home / 'andon.db'}"


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise unavailable(f"the workspace's key {path} could not be read", error) from error
    if len(key) != 32:
        raise Corrupt(f"the workspace's key {path}: expected 32 bytes, found {len(key)}; restore it from a backup")
    return key
