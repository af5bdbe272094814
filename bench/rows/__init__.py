"""The rows of the table, in its order."""

from bench.contest import Row

from . import (
    detached,
    dispatch,
    flood,
    follow,
    history,
    pages,
    phases,
    runs,
    slow,
    sms,
    start,
    uptime,
)

_MODULES = (
    *(runs, phases, uptime, flood, follow, detached, dispatch, history),
    *(sms, pages, start, slow),
)

ROWS: dict[str, Row] = {row.name: row for module in _MODULES for row in module.ROWS}
