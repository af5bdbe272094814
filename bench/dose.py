"""How much is measured: in earnest, in a short time, and in a test."""

from dataclasses import dataclass

MB = 10**6
GB = 10**9


@dataclass(frozen=True)
class Dose:
    """What rows and curves are given."""

    name: str
    rounds: int  # of each contestant, in turns
    seconds: float  # of one round's load
    flood_bytes: int
    readline_bytes: int  # what readline-and-Queue is given: it keeps every line
    history: int  # finished tasks
    lines: int  # that are followed
    running: int  # commands, each with a follower
    half_open: int  # connections
    viewers: int  # of the first page
    page_lines: int  # of a run that a browser shows
    # What the curves go through.
    clients: tuple[int, ...]
    sleepers: tuple[int, ...]
    outputs: tuple[int, ...]
    histories: tuple[int, ...]
    followers: tuple[int, ...]
    workers: tuple[int, ...]


FULL = Dose(
    name="full",
    rounds=5,
    seconds=3,
    flood_bytes=4 * GB,
    readline_bytes=256 * MB,
    history=100_000,
    lines=400,
    running=500,
    half_open=200,
    viewers=50,
    page_lines=100_000,
    clients=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    sleepers=(1, 50, 100, 200, 300, 400, 500),
    outputs=(10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10),
    histories=(0, 1000, 10_000, 30_000, 100_000),
    followers=(1, 10, 50, 100, 200, 350, 500),
    workers=(1, 2, 3, 4, 6, 8),
)
QUICK = Dose(
    name="quick",
    rounds=1,
    seconds=1,
    flood_bytes=256 * MB,
    readline_bytes=32 * MB,
    history=100_000,
    lines=100,
    running=500,
    half_open=200,
    viewers=50,
    page_lines=100_000,
    clients=(1, 16, 256),
    sleepers=(1, 500),
    outputs=(10**3, 10**5, 10**7, 256 * MB),
    histories=(0, 100_000),
    followers=(1, 500),
    workers=(1, 4),
)
TINY = Dose(
    name="tiny",
    rounds=1,
    seconds=0.2,
    flood_bytes=MB,
    readline_bytes=MB,
    history=100,
    lines=5,
    running=3,
    half_open=3,
    viewers=3,
    page_lines=1000,
    clients=(1, 2),
    sleepers=(1, 2),
    outputs=(10**3,),
    histories=(0, 100),
    followers=(1, 2),
    workers=(1,),
)
