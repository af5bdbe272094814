"""How the host is and was: what is asked for, and what is answered."""

from app.api.schemas.answer import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    a,
    an_array,
    an_object,
    by_name,
    or_null,
)
from app.host.samples import KEPT
from app.schema import Schema
from app.version import VERSION

SAMPLES_QUERY = Schema(
    {
        "type": "object",
        "properties": {
            "since": {
                "type": "string",
                "format": "date-time",
                "pattern": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": KEPT,
                "default": KEPT,
            },
        },
        "additionalProperties": False,
    }
)

_DEVICE = an_object(
    device=STRING,
    tps=NUMBER,
    kB_read_per_s=NUMBER,
    kB_wrtn_per_s=NUMBER,
    kB_dscd_per_s=NUMBER,
    kB_read=NUMBER,
    kB_wrtn=NUMBER,
    kB_dscd=NUMBER,
    r_await_ms=NUMBER,
    w_await_ms=NUMBER,
    queue=NUMBER,
    util_percent=NUMBER,
)

_DEVICE_SECOND = an_object(
    device=STRING,
    tps=NUMBER,
    kB_read_per_s=NUMBER,
    kB_wrtn_per_s=NUMBER,
    r_await_ms=NUMBER,
    w_await_ms=NUMBER,
    queue=NUMBER,
    util_percent=NUMBER,
)

_LOAD = {**an_array(NUMBER), "minItems": 3, "maxItems": 3}

_SAMPLE = {
    "time": "2026-11-20T12:22:59.505390Z",
    "devices": [
        {
            "device": "vda",
            "tps": 10.66,
            "kB_read_per_s": 106.22,
            "kB_wrtn_per_s": 247.18,
            "kB_dscd_per_s": 0.0,
            "kB_read": 1224501,
            "kB_wrtn": 2849476,
            "kB_dscd": 0,
            "r_await_ms": 0.31,
            "w_await_ms": 1.2,
            "queue": 0.01,
            "util_percent": 0.52,
        }
    ],
}

_HOST = {
    "host": "pelican",
    "labels": {"role": "web"},
    "alive": True,
    "draining": False,
    "seen": "2026-11-20T12:22:59.505390Z",
    "seconds_since_seen": 0.412,
    "version": VERSION,
    "running": {"exec": 2, "iostat": 0, "sms": 0},
    "queued": {"exec": 0, "iostat": 0, "sms": 0},
    "capacity": {
        "exec": {"running": 8, "queued": 64},
        "iostat": {"running": 4, "queued": 0},
        "sms": {"running": 4, "queued": 64},
    },
    "readings": {"uptime_seconds": 540.52, "load": [0.1, 0.2, 0.3], "users": 1},
    "links": [
        {"rel": "self", "href": "/v3/hosts/pelican"},
        {"rel": "uptime", "href": "/v3/hosts/pelican/uptime/"},
        {"rel": "iostat", "href": "/v3/hosts/pelican/iostat/"},
        {"rel": "samples", "href": "/v3/hosts/pelican/samples"},
    ],
}
_SECOND = {
    "time": "2026-11-20T12:22:59.505Z",
    "load": [0.1, 0.2, 0.3],
    "uptime_seconds": 540.52,
    "users": 1,
    "devices": [
        {
            "device": "vda",
            "tps": 11.0,
            "kB_read_per_s": 106.0,
            "kB_wrtn_per_s": 248.0,
            "r_await_ms": 0.31,
            "w_await_ms": 1.2,
            "queue": 0.01,
            "util_percent": 0.5,
        }
    ],
}

ANSWERS = {
    "Uptime": {
        **an_object(
            uptime={**STRING, "description": "the line that uptime(1) prints"},
            seconds=NUMBER,
            boot_time=TIME,
            users=or_null(INTEGER),
            load=_LOAD,
        ),
        "examples": [
            {
                "uptime": "12:23:04 up 9 min,  1 user,  load average: 0.10, 0.20, 0.30",
                "seconds": 540.52,
                "boot_time": "2026-11-20T12:14:03.980000Z",
                "users": 1,
                "load": [0.1, 0.2, 0.3],
            }
        ],
    },
    "Sample": {
        **an_object(time=TIME, devices=an_array(_DEVICE)),
        "description": "The first is since boot, later ones over the interval.",
        "examples": [_SAMPLE],
    },
    "Iostat": {
        **an_object(
            iostat={**STRING, "description": "the text that iostat -d prints"},
            samples=an_array(a("Sample")),
        ),
        "examples": [{"iostat": "Linux 6.1.0 (pelican) …\n", "samples": [_SAMPLE]}],
    },
    "Host": {
        **an_object(
            host=STRING,
            labels=by_name(STRING),
            alive=BOOLEAN,
            draining=BOOLEAN,
            seen=TIME,
            seconds_since_seen=NUMBER,
            version=STRING,
            running=by_name(INTEGER),
            queued=by_name(INTEGER),
            capacity=by_name(an_object(running=INTEGER, queued=INTEGER)),
            readings=an_object(
                optional={
                    "uptime_seconds": NUMBER,
                    "load": _LOAD,
                    "users": or_null(INTEGER),
                }
            ),
            links=an_array(a("Link")),
        ),
        "description": "As its worker said when it was last seen; tasks by kind.",
        "examples": [_HOST],
    },
    "Hosts": {
        **an_object(hosts=an_array(a("Host"))),
        "examples": [{"hosts": [_HOST]}],
    },
    "HostSamples": {
        **an_object(
            host=STRING,
            interval_seconds=NUMBER,
            samples=an_array(
                an_object(
                    time=TIME,
                    load=_LOAD,
                    uptime_seconds=NUMBER,
                    users=or_null(INTEGER),
                    devices=an_array(_DEVICE_SECOND),
                )
            ),
            links=an_array(a("Link")),
        ),
        "description": "Oldest first, each over its second; where one is missing, "
        "nothing is known. Of many devices only the busiest of each second.",
        "examples": [
            {
                "host": "pelican",
                "interval_seconds": 1,
                "samples": [_SECOND],
                "links": [
                    {
                        "rel": "next",
                        "href": "/v3/hosts/pelican/samples"
                        "?since=2026-11-20T12:22:59.505Z",
                    }
                ],
            }
        ],
    },
}
