"""How cost grows: the same work, with more and more of one thing."""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Server

from .contest import Contestant, Outcome, Stage, contest
from .dose import MB, Dose
from .followers import follow_all
from .rows.flood import seconds_of, seconds_of_cat
from .rows.follow import open_gate, room_for, start_holding, start_moments
from .rows.history import filled
from .rows.runs import (
    bare_echo,
    run_echo,
    threads_for,
    webhook_echo,
    webhook_server,
)
from .rows.uptime import read_uptime
from .servers import bare, bearer, bellhop, commands
from .usage import cpu_seconds, percentile, pss_mb

CLIENTS = 16
FEW_CLIENTS = 4
FOLLOWED_PAUSE_SECONDS = 0.1
FOLLOWED_LINES = 40
SMALL_BYTES = MB


@dataclass(frozen=True)
class Curve:
    """What grows, what is measured of it, and why it bends where it bends."""

    name: str
    title: str
    x: str
    y: str
    key: str  # the column that is drawn
    text: str
    why: str
    measure: Callable[[Dose, Path], Outcome]
    log_x: bool = True
    log_y: bool = False


def _clients(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        # Room to wait for as many as there are, so that nobody is sent away.
        most, threads = max(dose.clients), threads_for(max(dose.clients))
        room = {"EXEC_MAX_QUEUED": str(2 * most), "THREADS": threads}
        ours = stage.start(bellhop(folder, **room))
        peer = stage.start(bare(folder, threads=threads))
        those = [
            Contestant("Bellhop", ours, run_echo(ours)),
            Contestant("webhook", stage.start(webhook_server(folder)), webhook_echo()),
            Contestant("bare Flask", peer, bare_echo()),
        ]
        return _each(those, dose, dose.clients, stage)


def _each(
    those: list[Contestant], dose: Dose, xs: tuple[int, ...], stage: Stage
) -> Outcome:
    outcome = Outcome(left_out=stage.left_out)
    for x in xs:
        outcome.lines += [{"x": x} | line for line in contest(those, dose, clients=x)]
    return outcome


def _readings(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        those = [Contestant("Bellhop", stage.start(bellhop(folder)), read_uptime())]
        return _each(those, dose, dose.clients, stage)


def _running(dose: Dose, folder: Path) -> Outcome:
    settings = room_for(max(dose.sleepers)) | {"EXEC_COMMANDS": _both(folder)}
    outcome = Outcome()
    with bellhop(folder, **settings) as server:
        token, gates = bearer(server), []
        those = [Contestant("Bellhop", server, run_echo(server))]
        running = 0
        for x in dose.sleepers:
            gates.append(folder / f"gate-{x}")
            start_holding(server, token, x - running, gates[-1])
            running = x
            [line] = contest(those, dose, clients=FEW_CLIENTS)
            outcome.lines.append({"x": x} | line | {"pss_mb": _memory(server)})
        for gate in gates:
            open_gate(gate)
    return outcome


def _output(dose: Dose, folder: Path) -> Outcome:
    outcome = Outcome()
    with bellhop(folder, EXEC_COMMANDS=commands(folder)) as server:
        token = bearer(server)
        seconds_of(server, token, SMALL_BYTES)
        for x in dose.outputs:
            before, ours, cats = cpu_seconds(server.process.pid), [], []
            for _ in range(dose.rounds):
                ours.append(seconds_of(server, token, x))
                cats.append(seconds_of_cat(x))
            cpu = (cpu_seconds(server.process.pid) - before) / dose.rounds * 1000
            more = {"cpu_ms": cpu, "pss_mb": _memory(server)}
            for who, seconds in (("Bellhop", ours), ("cat >/dev/null", cats)):
                line = {"who": who, "x": x, "seconds": statistics.median(seconds)}
                outcome.lines.append(line | (more if who == "Bellhop" else {}))
    return outcome


def _histories(dose: Dose, folder: Path) -> Outcome:
    with Stage() as stage:
        servers = {x: filled(stage, folder, x) for x in dose.histories}
        those = [
            Contestant(str(x), each, run_echo(each)) for x, each in servers.items()
        ]
        lines = contest(those, dose, clients=FEW_CLIENTS)
    same = {"who": "Bellhop"}
    return Outcome([line | same | {"x": int(line["who"])} for line in lines])


def _followers(dose: Dose, folder: Path) -> Outcome:
    outcome = Outcome()
    settings = room_for(max(dose.followers)) | {"EXEC_COMMANDS": commands(folder)}
    with bellhop(folder, **settings) as server:
        for x in dose.followers:
            times, line = _followed(server, x, folder / f"gate-{x}")
            for part in (0.5, 0.99):
                ms = {"ms": percentile(times, part)}
                outcome.lines.append({"who": f"p{part * 100:.0f}", "x": x} | ms | line)
    return outcome


def _followed(
    server: Server, count: int, gate: Path
) -> tuple[list[float], dict[str, float]]:
    token, pid, seen = bearer(server), server.process.pid, {}
    pause = FOLLOWED_PAUSE_SECONDS
    task_id = start_moments(server, token, FOLLOWED_LINES, gate, pause)

    def look() -> None:
        seen.update(pss_mb=pss_mb(pid), before=cpu_seconds(pid))
        open_gate(gate)

    everybody = asyncio.run(follow_all(server, token, [task_id] * count, look))
    cpu = cpu_seconds(pid) - seen.pop("before")
    times = [each for followed in everybody for each in followed.milliseconds]
    return times, {"cpu_ms": cpu / len(times) * 1000} | seen


def _workers(dose: Dose, folder: Path) -> Outcome:
    outcome = Outcome()
    for x in dose.workers:
        settings = {"WORKERS": str(x), "THREADS": threads_for(CLIENTS)}
        with bellhop(folder, f"workers-{x}", **settings) as server:
            those = [
                Contestant("run", server, run_echo(server)),
                Contestant("uptime", server, read_uptime()),
            ]
            lines = contest(those, dose, clients=CLIENTS)
            more = {"x": x, "pss_mb": _memory(server)}
            outcome.lines += [line | more for line in lines]
    return outcome


def _memory(server: Server) -> float:
    return pss_mb(server.process.pid)


def _both(folder: Path) -> str:
    """Return a catalogue with what only the bench runs, and the shipped `echo`."""
    path = Path(commands(folder))
    with path.open("a") as file:
        file.write(
            '[commands.echo]\nargv = ["/bin/echo", "{text}"]\n'
            '[commands.echo.params.text]\ntype = "string"\n'
        )
    return str(path)


CURVES: dict[str, Curve] = {
    curve.name: curve
    for curve in (
        Curve(
            "clients",
            "Clients that run commands",
            "clients",
            "runs per second",
            "per_second",
            "`/bin/echo hello` in one call. `EXEC_MAX_QUEUED` and `THREADS` have room "
            "for all.",
            "Up to a few clients it rises: a run waits for its process, and the cores "
            "are free meanwhile. Then both cores are busy, and the rate is what a run "
            "takes of them. Where more clients come than commands may run, the others "
            "wait in line, and the longer the line is, the more is looked at with "
            "each turn: a run costs more there.",
            _clients,
        ),
        Curve(
            "readers",
            "Clients that read",
            "clients",
            "readings per second",
            "per_second",
            "The uptime of the host, on connections that are kept.",
            "One client leaves the server idle while it reads the answer itself. From "
            "a few on, both cores are busy, and whoever comes beyond them only waits "
            "longer. The rate falls a little where more connections have to be "
            "watched than are answered.",
            _readings,
        ),
        Curve(
            "running",
            "Commands that run already",
            "commands that run meanwhile",
            "runs per second",
            "per_second",
            f"{FEW_CLIENTS} clients run `/bin/echo hello` while others wait for their "
            "end. `EXEC_MAX_RUNNING` and `THREADS` have room for all.",
            "A command that runs costs next to nothing: its thread sleeps until there "
            "is output. What grows is what a start costs, since whoever runs is "
            "counted with each one, and what is looked at four times a second, to see "
            "who is to be cancelled.",
            _running,
            log_x=False,
        ),
        Curve(
            "output",
            "Bytes of output",
            "bytes",
            "seconds",
            "seconds",
            "From the start of the command to its end, as the task has it; the same "
            "pipe into cat(1) beside it, from the start of its shell.",
            "Below a megabyte it is the time to start a process. Above, it is that of "
            "the pipe: what is read is counted and written over the oldest of the "
            "ring, so that a byte costs the same after ten gigabytes as after one, "
            "and the memory stays.",
            _output,
            log_y=True,
        ),
        Curve(
            "history",
            "Finished tasks",
            "finished tasks in the store",
            "runs per second",
            "per_second",
            f"{FEW_CLIENTS} clients run `/bin/echo hello`.",
            "It does not bend: what a run looks up is found by an index, and so is the "
            "oldest task where one has to go.",
            _histories,
            log_x=False,
        ),
        Curve(
            "followers",
            "Followers of one output",
            "followers",
            "milliseconds",
            "ms",
            f"A line each {FOLLOWED_PAUSE_SECONDS * 1000:.0f} ms, from its writing "
            "until each follower has it. `THREADS` has room for all. The CPU is that "
            "of one line to one follower.",
            "A thread for each follower reads the line from the file and sends it, so "
            "that the last one has waited for the others of its worker: the time grows "
            "with their number, and the CPU of one line to one follower does not.",
            _followers,
            log_y=True,
        ),
        Curve(
            "workers",
            "Workers",
            "workers",
            "per second",
            "per_second",
            f"{CLIENTS} clients, of whom all run `/bin/echo hello`, or all read the "
            "uptime.",
            "Readings want as many workers as there are cores; more only take turns. "
            "Runs gain less by the second one, since SQLite has one writer at a time, "
            "and the more processes wait for it, the more of their time goes into "
            "looking whether it is free.",
            _workers,
            log_x=False,
        ),
    )
}
