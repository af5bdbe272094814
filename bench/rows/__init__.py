"""The rows of the table, in its order."""

from bench.contest import Row

from . import detached, flood, follow, history, phases, runs, slow, sms, start, uptime

ROWS: dict[str, Row] = {
    row.name: row
    for module in (
        runs,
        phases,
        uptime,
        flood,
        follow,
        history,
        sms,
        start,
        slow,
        detached,
    )
    for row in module.ROWS
}
