"""Bytes under a root address: a local folder or any fsspec URL. Every write is atomic: a reader sees all of it or nothing.

On S3 a new object is created by a conditional PUT (If-None-Match: *); in a local folder by temp file, fsync and link.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from posixpath import normpath
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs as arrow_fs

from storage import s3
from storage.addresses import open_address, refusal

_SPARE_BYTES = 2**20  # a disk with less than this left is full
_ONE_PUT_BYTES = 5 * 2**30  # what S3 takes in one request
_YOUNG = timedelta(hours=12)  # half of the age at which garbage collection takes what nobody refers to
_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.tmp|\.check-[0-9a-f]{32}")
# A part that is . or .., an absolute path, or a control character, which a file name may hold but none of ours does.
_LEADS_OUT = re.compile(r"^/|(?:^|/)\.\.?(?:/|$)|[\0-\x1f\x7f]")
# In a folder's name, to delta-rs, which takes it for a URL: it fails on them, or looks below another name.
_NOT_OF_DELTA = re.compile(r"[\[\]^|%\\\0-\x1f\x7f]")
_SHOWN = 200  # characters of a name in an error


class StoreError(RuntimeError):
    """The store cannot be used as asked; the message names the address and says what to do."""


@dataclass(frozen=True)
class Object:
    """What a listing tells of an object: its size, and when it was last written, by the store's clock."""

    bytes: int
    modified: datetime

    @property
    def is_young(self) -> bool:
        """Whether it was written of late, so that nobody who removes old objects takes it away soon."""
        return datetime.now(UTC) - self.modified < _YOUNG


@dataclass(frozen=True)
class Store:
    """Root address of all artifacts, manifests, runs and tables. Cheap to make, safe to send to another process."""

    root: str

    def __post_init__(self) -> None:
        if not self.root:
            raise StoreError("the output address is empty; give a folder or a URL such as s3://bucket/path")
        if refused := refusal(self.root):
            raise StoreError(refused)
        root = _canonical(self.root) if s3.is_s3(self.root) else self.root.removeprefix("file://")
        if "://" not in root:
            root = str(Path(root).expanduser().resolve())
            if Path(root).is_file():
                raise StoreError(f"{root} is a file; give a folder, new or of an earlier run")
            if wrong := _NOT_OF_DELTA.search(root):
                raise StoreError(f"{root!r}: Delta Lake tables cannot lie below a name with {wrong[0]!r}; choose another output")
        object.__setattr__(self, "root", root.rstrip("/"))
        try:
            fsspec.get_filesystem_class(fsspec.utils.get_protocol(root))
        except (ValueError, ImportError) as error:
            raise StoreError(f"{root} cannot be opened: {error}") from error

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)  # an open filesystem stays in its process, with its credentials

    @cached_property
    def _fs(self) -> Any:
        return open_address(self.root)[0]

    @cached_property
    def _base(self) -> str:
        return str(open_address(self.root)[1]).rstrip("/")

    @property
    def is_local(self) -> bool:
        """True for a folder on this machine."""
        return isinstance(self._fs, LocalFileSystem)

    def arrow_filesystem(self) -> arrow_fs.FileSystem:
        """The same filesystem as Arrow's datasets read it, to which `path` gives paths. StoreError where S3 cannot be used.

        Made anew for each use: it holds credentials, and those of roles run out.
        """
        if self.is_local:
            return arrow_fs.LocalFileSystem()
        if not s3.is_s3(self.root):
            return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(self._fs))
        try:
            return s3.arrow_filesystem()
        except s3.S3Error as error:
            raise StoreError(f"cannot use {self.root}: {error}") from None

    def path(self, name: str) -> str:
        """Path of an object on its filesystem. StoreError for a name that leads out of the root, or that no object has.

        Most names come from us; but some stand in files of the store, which others may have written. In a folder, a link is
        followed as long as it stays below the root: what it leads out to is not ours to read, write or remove.
        """
        if _LEADS_OUT.search(name):
            raise StoreError(f"refused the object name {name[:_SHOWN]!r}: names stay below {self.root}")
        path = f"{self._base}/{name}"
        if self.is_local and not f"{os.path.realpath(path)}/".startswith(f"{self._base}/".replace("//", "/")):
            raise StoreError(f"{path} is a link that leads out of {self.root}: put the files themselves there, or remove it")
        return path

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that must not exist yet; False, and nothing written, where it does. Of racing writers one wins."""
        path = self.path(name)
        if self.is_local:
            temporary = self._write_temporary(path, data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)  # noqa: PTH108
            _sync_folder(Path(path).parent)
            return True
        try:
            # In one PUT whatever the size: not every server heeds the condition where an upload of many parts ends.
            self._fs.pipe_file(path, data, mode="create", **({"chunksize": _ONE_PUT_BYTES} if s3.is_s3(self.root) else {}))
        except FileExistsError:
            return False
        except OSError as error:
            if "PreconditionFailed" in f"{error} {error.__cause__}":
                return False
            raise
        return True

    def write(self, name: str, data: bytes) -> None:
        """Write an object, replacing one of that name."""
        path = self.path(name)
        if self.is_local:
            temporary = Path(self._write_temporary(path, data))
            try:
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)  # it is there only where the name cannot be
            _sync_folder(Path(path).parent)
        else:
            self._fs.pipe_file(path, data)

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A local file to write, which becomes the object, replacing one of that name, where the block ends without an error.

        For what does not fit in memory; behind a URL it needs room in the folder for temporary files (TMPDIR).
        """
        path = self.path(name)
        parent = Path(path).parent if self.is_local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        temporary = parent / f".{uuid.uuid4().hex}.tmp"
        try:
            yield temporary
            if self.is_local:
                _sync(temporary)
                temporary.replace(path)
                _sync_folder(parent)
            else:
                self._fs.put_file(str(temporary), path)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """All bytes of an object. FileNotFoundError where there is none."""
        # In one request: s3fs would ask for the size first, to fetch large objects in pieces.
        at_once = {"max_concurrency": 1} if s3.is_s3(self.root) else {}
        return bytes(self._fs.cat_file(self.path(name), **at_once))

    def size(self, name: str) -> int | None:
        """Bytes of an object, None where there is none."""
        try:
            return int(self._fs.info(self.path(name))["size"])
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Remove an object if it is there."""
        try:
            self._fs.rm_file(self.path(name))
        except FileNotFoundError:
            return

    def delete_all(self, names: Sequence[str]) -> None:
        """Remove objects that are there, on S3 a thousand a request; local folders that this empties go, too."""
        if s3.is_s3(self.root):
            s3.delete_objects([self.path(name) for name in names])
            return
        for name in names:
            self.delete(name)
        if self.is_local:
            for folder in {Path(self.path(name)).parent for name in names} - {Path(self.root)}:
                with suppress(OSError):  # not empty, or gone
                    folder.rmdir()

    def delete_folder(self, prefix: str) -> None:
        """Remove all objects below a prefix, and the folder itself, which some S3 servers would go on to list."""
        self.delete_all(list(self.list_objects(prefix)))
        if s3.is_s3(self.root):
            s3.delete_objects([f"{self.path(prefix)}/"])

    def list(self, prefix: str) -> dict[str, int]:
        """Names, relative to the root, and sizes of all objects below a prefix; empty where there are none."""
        return {name: found.bytes for name, found in self.list_objects(prefix).items()}

    def list_objects(self, prefix: str) -> dict[str, Object]:
        """As `list`, with when each was written."""
        self._fs.invalidate_cache()
        path = self.path(prefix)
        try:
            if s3.is_s3(self.root) and prefix:  # alone; of an empty listing s3fs would ask whether it is an object
                folder, _, name = path.rpartition("/")
                found = self._fs.find(folder, prefix=f"{name}/", detail=True)
            else:
                found = self._fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        files = ((name, info) for name, info in found.items() if info["type"] == "file")  # some servers keep emptied folders
        objects = ((name[len(self._base) + 1 :], info) for name, info in sorted(files))
        return {name: _object(info) for name, info in objects if not Path(name).name.startswith(".")}

    def modified(self, name: str) -> datetime | None:
        """When an object was last written, by the store's clock; None where there is none."""
        self._fs.invalidate_cache()
        try:
            return _object(self._fs.info(self.path(name))).modified
        except FileNotFoundError:
            return None

    def leftovers(self) -> dict[str, Object]:
        """Hidden files that writers who were killed have left: temporary ones of a local folder, and those of `check`."""
        if self.is_local:
            paths = sorted(Path(folder) / name for folder, _, names in os.walk(self.root) for name in names)
            found = {str(path.relative_to(self.root)): path for path in paths if _LEFTOVER.fullmatch(path.name)}
            return {name: _object(self._fs.info(str(path))) for name, path in found.items() if path.exists()}
        self._fs.invalidate_cache()
        try:
            top = {Path(info["name"]).name: info for info in self._fs.ls(self._base, detail=True) if info["type"] == "file"}
        except FileNotFoundError:
            return {}
        return {name: _object(info) for name, info in sorted(top.items()) if _LEFTOVER.fullmatch(name)}

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of the folders directly below a prefix, without what lies in them; empty where there are none."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self.path(prefix), detail=True)
        except FileNotFoundError:
            return ()
        return tuple(sorted(Path(entry["name"]).name for entry in found if entry["type"] == "directory"))

    def reach(self) -> None:
        """Raise StoreError where this is S3 that does not answer or does not let us in. Quick, and writes nothing."""
        if s3.is_s3(self.root):
            try:
                s3.reach(self.root)
            except s3.S3Error as error:
                raise StoreError(f"cannot use {self.root}: {error}") from None

    def check(self) -> None:
        """Raise StoreError unless objects can be written and read here, OSError where the disk is full."""
        self.reach()
        name = f".check-{uuid.uuid4().hex}"
        try:
            self.write(name, b"tkm")
            self.read(name)
            self.delete(name)
            self.require_room(0)
        except Exception as error:  # whatever the filesystem's library raises: its names are not ours to know
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # no fault of the address, and it may pass
            why = s3.explain(error, self.root) if s3.is_s3(self.root) else error
            raise StoreError(f"cannot write to {self.root}: {why}; check the address, credentials and rights") from error

    def require_room(self, size: int) -> None:
        """Raise OSError where the disk of a local folder has no room for so many more bytes: not every writer fails well."""
        if not self.is_local:
            return
        Path(self.root).mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.root).free < size + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.root)

    def _write_temporary(self, path: str, data: bytes) -> str:
        folder = Path(path).parent
        temporary = folder / f".{uuid.uuid4().hex}.tmp"
        try:
            with _new_file(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            temporary.unlink(missing_ok=True)  # a full disk must not be filled further by what failed
            if isinstance(error, OSError):
                error.filename = path  # what was to be written: of a file that is open the error says nothing
            raise
        return str(temporary)


def _canonical(root: str) -> str:
    """One spelling of an address of S3, and one that delta-rs reads as s3fs does: to it an address is a URL."""
    bucket, _, path = root.partition("://")[2].partition("/")
    if wrong := re.search(r"[#?%]", path):
        raise StoreError(f"{root}: Delta Lake tables cannot lie below a name with {wrong[0]!r} on S3; choose another output")
    return f"s3://{bucket}{normpath('/' + path.lstrip('/'))}".rstrip("/")


def is_young(store: Store, name: str) -> bool:
    """Whether an object that is about to be used again was written of late; else it is written anew, so that nobody who removes
    old objects takes it away before it is said that it is used.
    """
    modified = store.modified(name)
    return modified is not None and Object(0, modified).is_young


def _object(info: dict[str, Any]) -> Object:
    """From fsspec's facts of an object, whose name for the time is each filesystem's own."""
    time: Any = info.get("LastModified") or info.get("mtime") or info["created"]
    return Object(int(info["size"]), time if isinstance(time, datetime) else datetime.fromtimestamp(time, UTC))


def _new_file(path: Path) -> BinaryIO:
    """A new file, open to write; its folder is made, also where somebody who cleans up removes it, empty, at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; filesystems that cannot sync folders are left as they are."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
