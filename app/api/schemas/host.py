"""How the host is, as it is answered."""

from app.api.schemas.answer import (
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    a,
    an_array,
    an_object,
    or_null,
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

ANSWERS = {
    "Uptime": {
        **an_object(
            uptime={**STRING, "description": "the line that uptime(1) prints"},
            seconds=NUMBER,
            boot_time=TIME,
            users=or_null(INTEGER),
            load={**an_array(NUMBER), "minItems": 3, "maxItems": 3},
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
}
