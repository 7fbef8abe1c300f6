"""A folder of results that need not be computed again, safe to share and safe to delete.

Each entry is one file, named by its key, written beside and renamed into place, so that scans that run
at the same time never see half an entry. The folder lies inside the scanned project and may have come
with it; therefore reading an entry can only ever build plain values and nnaudit's own data classes.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import io
import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

DEFAULT_NAME = ".nnaudit_cache"
MAX_BYTES = 256 * 2**20
_MAGIC = b"nnaudit1"
_DIGEST = 16
_HOUR, _DAY = 3600.0, 86400.0

_PACKAGE = __name__.partition(".")[0]
_BUILTINS = frozenset({"Ellipsis", "frozenset", "set", "complex", "bytearray", "range", "slice"})


def key_of(*parts: str | bytes) -> bytes:
    """A key for the exact sequence of parts."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def dumps(value: object) -> bytes:
    """The bytes that :func:`loads` turns back into ``value``."""
    return pickle.dumps(value, protocol=5)


def loads(payload: bytes) -> Any:
    """The value of :func:`dumps`; any class but nnaudit's own data classes is refused."""
    return _Unpickler(io.BytesIO(payload)).load()


class _Unpickler(pickle.Unpickler):
    """Finds classes of this package and a few harmless built-ins, never a function."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _BUILTINS:
            return super().find_class(module, name)
        if module == "builtins" and name == "getattr":  # how Python 3.11 pickles members of an Enum
            return _member
        if module.partition(".")[0] == _PACKAGE and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module and _is_data(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in the cache")


def _is_data(cls: type) -> bool:
    return hasattr(cls, "__dataclass_fields__") or issubclass(cls, enum.Enum | tuple)


def _member(cls: Any, name: str) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, enum.Enum)):
        raise pickle.UnpicklingError("not a member of an enumeration")
    return cls[name]


class Cache:
    """Key -> value in ``folder``. Every failure means "not cached"; ``warning`` tells of the first one."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.warning: str | None = None
        self._max_bytes = max_bytes
        self._prepared: bool | None = None
        self._made: set[str] = set()

    def get(self, key: bytes) -> Any | None:
        """The value of ``key``, or None; an entry that is damaged is removed."""
        path = self._path(key)
        try:
            with open(path, "rb") as stream:
                data = stream.read()
                if time.time() - os.fstat(stream.fileno()).st_mtime > _DAY:
                    os.utime(path)  # what is still in use is removed last
        except OSError:
            return None
        start = len(_MAGIC) + _DIGEST
        payload = data[start:]
        if data[:start] == _header(payload):
            try:
                return loads(payload)
            except Exception:  # whatever a damaged or foreign entry provokes, it is worth nothing
                pass
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None

    def put(self, key: bytes, value: object) -> None:
        """Keep ``value``."""
        self.put_bytes(key, dumps(value))

    def put_bytes(self, key: bytes, payload: bytes) -> None:
        """Keep a value that :func:`dumps` has already turned into bytes."""
        if not self._prepare():
            return
        path = self._path(key)
        try:
            parent = os.path.dirname(path)
            if parent not in self._made:
                os.makedirs(parent, exist_ok=True)
                self._made.add(parent)
            descriptor, temporary = tempfile.mkstemp(dir=parent, prefix="new-")
            try:
                with open(descriptor, "wb") as stream:
                    stream.write(_header(payload))
                    stream.write(payload)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            self._give_up(error)

    def prune(self) -> None:
        """Keep the folder bounded: the entries unused for longest go first. Looks once an hour at most."""
        if not self._prepared:
            return
        stamp = self.folder / "pruned"
        try:
            if time.time() - stamp.stat().st_mtime < _HOUR:
                return
        except OSError:
            pass
        with contextlib.suppress(OSError):
            stamp.touch()
            self.shrink()

    def shrink(self) -> None:
        """Remove the oldest entries until the rest takes at most four fifths of the limit."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        if total <= self._max_bytes:
            return
        for _, size, path in entries:
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= size
            if total <= self._max_bytes * 4 // 5:
                return

    def _entries(self) -> list[tuple[float, int, str]]:
        """(time of last use, bytes, path) of all entries."""
        found = []
        for parent, _, names in os.walk(self.folder):
            if parent == os.fspath(self.folder):
                continue
            for name in names:
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    found.append((status.st_mtime, status.st_size, path))
        return found

    def _path(self, key: bytes) -> str:
        name = key.hex()
        return os.path.join(self.folder, name[:2], name[2:])

    def _prepare(self) -> bool:
        """Make the folder once, with a .gitignore of its own so that nobody commits it."""
        if self._prepared is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                ignore = self.folder / ".gitignore"
                if not ignore.exists():
                    ignore.write_text("# Made by nnaudit.\n*\n", encoding="utf-8")
                    tag = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of nnaudit.\n"
                    (self.folder / "CACHEDIR.TAG").write_text(tag, encoding="utf-8")
                self._prepared = True
            except OSError as error:
                self._give_up(error)
        return bool(self._prepared)

    def _give_up(self, error: OSError) -> None:
        self._prepared = False
        if self.warning is None:
            reason = error.strerror or str(error)
            self.warning = f"the cache {self.folder} cannot be written ({reason}); use --no-cache or cache-dir"


def _header(payload: bytes) -> bytes:
    return _MAGIC + hashlib.blake2b(payload, digest_size=_DIGEST).digest()
