"""Content-addressed files: a blob's name is the hash of its bytes, so it is never wrong, never changed and stored once."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

from andon.errors import Corrupt, NotFound, UsageError
from andon.store.files import create_file, unavailable

__all__ = ["Blobs", "blob_hash"]

_HASH = re.compile(r"[0-9a-f]{64}")


def blob_hash(data: bytes) -> str:
    """blake2b with 32 bytes, in hex."""
    return blake2b(data, digest_size=32).hexdigest()


class Blobs:
    """The blobs of a workspace, in a directory of 256 folders.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     blobs = Blobs(Path(folder))
    ...     name = blobs.put(b"pixels")
    ...     print(name[:8], blobs.get(name), blobs.has("0" * 64))
    784f1fba b'pixels' False
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    def put(self, data: bytes) -> str:
        """Store bytes durably; returns their hash. Storing them again does nothing. Raises ``Unavailable``."""
        name = blob_hash(data)
        path = self.path(name)
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unavailable(f"the blob {name[:12]} could not be stored", error) from error
            create_file(path, data, mode=0o444)
        return name

    def get(self, name: str) -> bytes:
        """The bytes, verified. Raises ``NotFound`` or ``Corrupt``."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"no blob has the hash {name[:12]}; it was deleted or belongs to another workspace"
            ) from None
        except OSError as error:
            raise unavailable(f"the blob {name[:12]} could not be read", error) from error
        found = blob_hash(data)
        if found != name:
            raise Corrupt(
                f"the blob {path}: expected the hash {name[:12]}, found {found[:12]}; restore it from a backup"
            )
        return data

    def path(self, name: str) -> Path:
        """Where a blob is or would be; whoever reads there verifies for themselves. Raises ``UsageError``."""
        if _HASH.fullmatch(name) is None:
            raise UsageError(f"a blob's hash: expected 64 hex digits, found {name!r}")
        return self.directory / name[:2] / name

    def has(self, name: str) -> bool:
        """Whether it is stored."""
        return self.path(name).exists()

    def delete(self, name: str) -> bool:
        """Delete it; False when it was not there."""
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        return True
