"""What may be run: the file, and the program of each entry."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.errors import InvalidInput
from app.finding import Finding
from app.processes.limits import find_prlimit
from app.services import Services
from app.tasks.entry import Entry

from .records import is_user
from .rights import is_written_by_others, mode_of

_ABOUT = "EXEC_COMMANDS"


def findings(
    services: Services, settings: Mapping[str, Any], *, knows_users: bool
) -> Iterator[Finding]:
    """Give what there is to say of the catalogue.

    `knows_users` says that the users can be asked for.
    """
    path = Path(settings["EXEC_COMMANDS"])
    yield from _of_rights(path)
    try:
        services.catalogue.check()
    except InvalidInput as error:
        for fault in error.faults:
            words = ": ".join(filter(None, (str(path), fault.path, fault.message)))
            remedy = "mend the file, or name another; docs/catalogue.md says its form"
            yield Finding.fault(_ABOUT, words, remedy)
        return
    entries = services.catalogue.entries(None, every=True)
    yield from _of_number(len(entries), settings)
    for entry in entries:
        found = [*_of_program(entry), *_of_limits(entry)]
        found += _of_notice(entry, services, knows_users=knows_users)
        if knows_users:
            found += _of_users(entry, services)
        yield from found or [Finding(_name(entry), f"runs {entry.program.find()}")]


def _of_rights(path: Path) -> Iterator[Finding]:
    for each in (path, path.parent):
        if is_written_by_others(each):
            words = (
                f"{each} can be changed by others (its rights are {mode_of(each):04o})"
            )
            yield Finding.fault(_ABOUT, words, f"chmod go-w {each}")


def _of_number(number: int, settings: Mapping[str, Any]) -> Iterator[Finding]:
    if not number and not settings["EXEC_ALLOW_SHELL"]:
        words = f"{settings['EXEC_COMMANDS']} has no entry: no command can be run"
        yield Finding.note(_ABOUT, words, "add what may be run; see docs/catalogue.md")


def _of_program(entry: Entry) -> Iterator[Finding]:
    about, program = _name(entry), entry.program
    if program.cwd is not None and not Path(program.cwd).is_dir():
        words = f"its cwd {program.cwd} is no folder"
        yield Finding.fault(about, words, "make the folder, or correct the entry")
        return
    found = program.find()
    if found is None:
        words = f"{program.name} is not there, or this user may not execute it"
        if "/" not in program.name:
            words += f" (looked for in {program.path})"
        remedy = "install it, chmod +x it, or write its whole path into argv"
        yield Finding.fault(about, words, remedy)
        return
    real = Path(found).resolve()
    if is_written_by_others(real, or_group=False):
        words = f"{real} can be changed by anybody on this host"
        yield Finding.fault(about, words, f"chmod o-w {real}")
    if interpreter := program.missing_interpreter():
        words = f"the first line of {found} names {interpreter}, which is not there"
        yield Finding.fault(about, words, "install it, or correct that line")


def _of_limits(entry: Entry) -> Iterator[Finding]:
    if entry.has_limits and find_prlimit() is None:
        words = "has limits, and there is no prlimit that could set them"
        yield Finding.fault(_name(entry), words, "install util-linux")


def _of_notice(
    entry: Entry, services: Services, *, knows_users: bool
) -> Iterator[Finding]:
    # Whom a message goes to may be somebody of the directory, which is in the database.
    seen = {n: v for n, v in (entry.notify or {}).items() if knows_users or n != "sms"}
    for fault in services.endings.faults(seen):
        words = f"nobody can be told of its end: {fault.path} {fault.message}"
        remedy = "correct the entry, NOTIFY_URL_PREFIXES or the templates"
        yield Finding.fault(_name(entry), words, remedy)


def _of_users(entry: Entry, services: Services) -> Iterator[Finding]:
    if unknown := [n for n in entry.users or () if not is_user(services, n)]:
        words = f"its users name nobody that there is: {', '.join(unknown)}"
        remedy = "correct the entry, or run: flask --app server user add NAME"
        yield Finding.note(_name(entry), words, remedy)


def _name(entry: Entry) -> str:
    return f"command {entry.name}"
