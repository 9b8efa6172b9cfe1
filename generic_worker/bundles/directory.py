"""A directory of bundles: what is in it is whole, and only its owner can read it.

Each bundle is a folder of its own (0700) with all that its flow run needs (0600), and appears under its name at once.
To unpickle a file is to do what its writer wants: a bundle is taken from its reader's own user only, and in a directory
in which nobody else can replace it. Root takes those of the directory's owner too, as a container on somebody's behalf.
"""

from __future__ import annotations

import io
import json
import operator
import os
import pwd
import re
import shutil
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from generic_worker.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEY_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BUNDLE, _ABOUT, _FILES = "bundle.json", "about.json", "files.zip"
_DRAFT = ".draft-"
_VISIBLE_EVERY = 0.5
_TIDY_EVERY = 3600.0
"""Seconds between two looks for what was left behind; and the least age of what is looked at."""
_FORGOTTEN = 30 * 24 * 3600.0
"""Seconds for which a bundle is kept of whose flow run nobody can say what became, and what a flow has written."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is to be executed.

    Attributes:
        folder: Where it is.
        content: The bundle as Prefect made it.
        flow_run_id: Its flow run.
        files: The archive of the files that its flow wants beside it, if there are any.
    """

    folder: Path
    content: dict[str, Any]
    flow_run_id: UUID
    files: Path | None


@dataclass(frozen=True, slots=True)
class Leftover:
    """A folder in a directory of bundles that may be of no use any more.

    Attributes:
        folder: The folder.
        flow_run_id: Its flow run; None if its upload was broken off.
    """

    folder: Path
    flow_run_id: UUID | None

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle, and not what its flow has written."""
        return (self.folder / _BUNDLE).exists()


def upload(directory: str, key: str, source: Path) -> None:
    """Put a bundle into a directory, which is made if it is not there.

    Prefect calls this once for the bundle, and once more for the archive of included files if there is one. The
    archive lies beside the bundle, and is taken along at once: so a bundle is never there without its files.

    Args:
        directory: The directory; `~` stands for the home of whoever calls.
        key: The name of the bundle, or of the archive.
        source: The file.

    Raises:
        BundleError: It cannot be written, or the directory is not safe.
    """
    if "/" in key:
        return
    root = _directory(directory, make=True)
    if not _KEY_RE.fullmatch(key):
        raise BundleError(f"{key!r} is no name for a bundle.")
    content = json.loads(source.read_bytes())
    archive = source.parent / content["files_key"] if content.get("files_key") else None
    about = {"flow_run_id": content["flow_run"]["id"], "python": _python()}
    draft = None
    try:
        draft = Path(tempfile.mkdtemp(prefix=f"{_DRAFT}{key}-", dir=root))
        _write(draft / _BUNDLE, source.open("rb"))
        _write(draft / _ABOUT, io.BytesIO(json.dumps(about).encode()))
        if archive is not None:
            _write(draft / _FILES, archive.open("rb"))
        draft.rename(root / key)
    except OSError as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise BundleError(f"The bundle cannot be written to {root}: {error.strerror}.") from error


def download(directory: str, key: str, patience: float = 60.0) -> Bundle:
    """Take a bundle from a directory; it stays there.

    Args:
        directory: The directory; `~` stands for the home of whoever calls.
        key: The name of the bundle.
        patience: Seconds to wait for it. What one host of a network file system has written, another sees later.

    Raises:
        BundleError: It is not there, is somebody else's, or was made with another Python.
    """
    root = _directory(directory, make=False)
    folder = root / key
    wait = Retrying(
        retry=retry_if_result(operator.not_),
        stop=stop_after_delay(patience),
        wait=wait_fixed(_VISIBLE_EVERY),
        retry_error_callback=lambda _: False,
    )
    if not _KEY_RE.fullmatch(key) or not wait(folder.is_dir):
        raise BundleError(
            f"There is no bundle {key} in {root}. It is removed when its flow run has ended: call the flow again. "
            "If it never was there, the directory is not the same on this host as where the flow was called."
        )
    _refuse_strangers(folder, root)
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        content = json.loads((folder / _BUNDLE).read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"The bundle {folder} cannot be read: {error}.") from error
    if about["python"] != _python():
        raise BundleError(
            f"The flow was sent from Python {about['python']}, and this is Python {_python()} at {sys.executable}. "
            "Both must be the same: choose the job's Python with launcher={'execution': ['/path/to/python']}, "
            "or put it first in the job's PATH."
        )
    files = folder / _FILES if content.pop("files_key", None) else None
    return Bundle(folder, content, UUID(about["flow_run_id"]), files)


def remove(bundle: Bundle) -> None:
    """Remove a bundle whose flow run has ended. What cannot be removed is left for later."""
    shutil.rmtree(bundle.folder, ignore_errors=True)


def keep(bundle: Bundle) -> None:
    """Remove a bundle, but not what its flow has written beside its files: that stays for 30 days."""
    (bundle.folder / _BUNDLE).unlink(missing_ok=True)
    (bundle.folder / _FILES).unlink(missing_ok=True)


def left_behind(directory: str) -> list[Leftover]:
    """One's own folders that are not new: of flow runs that last, or of jobs that were killed. Nothing within the hour.

    Raises:
        OSError: The directory cannot be read or written.
        BundleError: It is not safe.
    """
    root = _directory(directory, make=True)
    stamp = root / f".tidied-{os.geteuid()}"
    if _age(stamp) < _TIDY_EVERY:
        return []
    _touch(stamp)
    own = []
    for folder in root.iterdir():
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or _age(folder) < _TIDY_EVERY:
            continue
        if folder.name.startswith(_DRAFT):
            own.append(Leftover(folder, None))
        elif (folder / _ABOUT).is_file():  # the directory may be somebody's home, and full of other things
            own.append(Leftover(folder, UUID(json.loads((folder / _ABOUT).read_bytes())["flow_run_id"])))
    return own


def discard(left: Iterable[Leftover], ended: Mapping[UUID, bool]) -> None:
    """Remove what was left behind and is of no use.

    Args:
        left: What was left behind.
        ended: The flow runs that are known, and whether they have ended. One that lasts may still want its bundle.
    """
    for one in left:
        if one.flow_run_id is None or (one.is_bundle and ended.get(one.flow_run_id)):
            useless = True
        else:
            useless = ended.get(one.flow_run_id, True) and _age(one.folder) > _FORGOTTEN
        if useless:
            shutil.rmtree(one.folder, ignore_errors=True)


def _touch(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.utime(descriptor)
    os.close(descriptor)


def _age(path: Path) -> float:
    """Seconds since something was changed; without end if it is not there."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


def _write(path: Path, source: BinaryIO) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source, os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())


def _directory(directory: str, *, make: bool) -> Path:
    root = Path(os.path.expanduser(directory))  # noqa: PTH111 - pathlib's raises where there is no home
    if not root.is_absolute():
        raise BundleError(f"The directory for bundles is {directory!r}. Write a path that begins with a slash or ~.")
    try:
        if make:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.stat()
    except OSError as error:
        raise BundleError(f"The directory for bundles, {root}: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise BundleError(f"The directory for bundles, {root}, is no directory.")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise BundleError(
            f"Others may remove and replace what is in {root}, and jobs would run what they put there. "
            f"Write: chmod go-w {root}, or chmod +t {root} if several users send flows from it."
        )
    return root


def _refuse_strangers(folder: Path, root: Path) -> None:
    found = folder.lstat()
    owner, me = found.st_uid, os.geteuid()
    if not stat.S_ISDIR(found.st_mode):
        raise BundleError(f"The bundle {folder} is no directory.")
    if owner != me and not (me == 0 and owner == root.stat().st_uid):
        raise BundleError(
            f"The bundle {folder} is {_user(owner)}'s, and this job runs as {_user(me)}. Send flows with "
            "submit() or by calling them, so that their jobs run as you, or use an object store."
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
