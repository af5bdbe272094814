"""The instance folder: whose it is, who may read it, and what can be kept there."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.errors import StorageUnavailable
from app.finding import Finding
from app.host.mounts import file_system_of
from app.tasks.output import OutputFolder
from app.tasks.outputs import Outputs

from .reasons import reason
from .rights import is_for_owner_alone, mode_of

# What is kept beside the outputs: records and their journal, backups, a log.
_SPARE_BYTES = 10**9
# Where locks and shared memory are not to be trusted.
_OF_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.davfs"),
    *("lustre", "ocfs2", "gfs2", "beegfs", "virtiofs", "ncpfs", "coda"),
}
_SECRETS = ("secret_key", "sms_receipts_secret")


def findings(settings: Mapping[str, Any], outputs: Outputs) -> Iterator[Finding]:
    """Give what there is to say of the folder, which is there already."""
    folder = Path(settings["INSTANCE_PATH"])
    kept = outputs if isinstance(outputs, OutputFolder) else None
    log_bytes = kept.log_bytes if kept else 0
    found = [
        *_of_owner(folder),
        *_of_rights(folder),
        *_of_kind(folder),
        *_of_space(folder, settings["EXEC_MAX_RUNNING"] * log_bytes),
        *_of_writing(folder, kept),
    ]
    yield from found or [Finding("instance folder", f"{folder} can be used")]


def _of_owner(folder: Path) -> Iterator[Finding]:
    owner, here = folder.stat().st_uid, os.geteuid()
    about = "instance folder"
    if owner != here:
        words = f"{folder} belongs to {_name(owner)}, and this is {_name(here)}"
        remedy = f"run this and the service as {_name(owner)}, or chown the folder"
        find = Finding.note if here == 0 else Finding.fault
        yield find(about, words, remedy)
    elif here == 0:
        words = "is root's: commands run as root, and can read the service's memory"
        yield Finding.note(about, words, "run the service as a user of its own")


def _of_rights(folder: Path) -> Iterator[Finding]:
    for path, most in [(folder, 0o700), *((folder / n, 0o600) for n in _SECRETS)]:
        if not is_for_owner_alone(path):
            about = "instance folder" if path == folder else path.name
            words = f"{path} has the rights {mode_of(path):04o}: others may use it"
            yield Finding.fault(about, words, f"chmod {most:o} {path}")


def _of_kind(folder: Path) -> Iterator[Finding]:
    kind = file_system_of(folder)
    if kind in _OF_NETWORK:
        words = f"{folder} is on {kind}, whose locks are not to be trusted"
        remedy = "set INSTANCE_PATH to a folder on a disk of this host"
        yield Finding.fault("instance folder", words, remedy)


def _of_space(folder: Path, needed: int) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    words = f"{folder} has {_shown(free)} free"
    if free < needed:
        words += f", EXEC_MAX_RUNNING commands take {_shown(needed)}"
        remedy = "make room, or lower EXEC_MAX_RUNNING or EXEC_OUTPUT_TAIL_BYTES"
        yield Finding.fault("free space", words, remedy)
    elif free < _SPARE_BYTES:
        yield Finding.note("free space", words, "make room before it is needed")


def _of_writing(folder: Path, outputs: OutputFolder | None) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        if outputs is not None:
            outputs.check()
    except (OSError, StorageUnavailable) as error:
        words = f"{folder} cannot be written: {reason(error)}"
        remedy = "make room, mount it for writing, or give it to this user"
        yield Finding.fault("instance folder", words, remedy)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _shown(size: int) -> str:
    return f"{size / 10**6:,.0f} MB"
