"""Charts as SVG, to be read on a light screen and on a dark one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 20, 64, 52
BAR_TOP, BAR_HEIGHT, BAR_LEFT, BAR_RIGHT = 44, 30, 190, 90
TICKS = 5

#: Of light and of dark screens: what is behind, words, lines of the grid, the series.
_COLOURS = {
    "light": ("#ffffff", "#24292f", "#d8dee4", "#0969da", "#bc4c00", "#1a7f37"),
    "dark": ("#0d1117", "#e6edf3", "#30363d", "#58a6ff", "#f0883e", "#56d364"),
}
SERIES = len(_COLOURS["light"]) - 3

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """Where values lie between two ends, in even steps or in powers of ten."""

    low: float
    high: float
    log: bool
    begin: float  # in the picture
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (self._scaled(each) for each in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.begin + part * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return round values from end to end."""
        if not self.log:
            step = _round_step(self.high - self.low)
            count = int((self.high - self.low) / step + 1e-9)
            return [self.low + step * number for number in range(count + 1)]
        powers = range(
            math.ceil(math.log10(self.low) - 1e-9),
            math.floor(math.log10(self.high) + 1e-9) + 1,
        )
        return [10.0**power for power in powers]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value


@dataclass(frozen=True)
class Lines:
    """One or several series over the same axis."""

    title: str
    x: str
    y: str
    series: Mapping[str, Points]
    log_x: bool = False
    log_y: bool = False

    def svg(self) -> str:
        """Draw it."""
        xs, ys = (
            [point[place] for points in self.series.values() for point in points]
            for place in (0, 1)
        )
        across = _axis(xs, self.log_x, LEFT, WIDTH - RIGHT, from_zero=False)
        up = _axis(ys, self.log_y, HEIGHT - BOTTOM, TOP, from_zero=True)
        parts = [
            *_grid(across, up, xs if self.log_x else across.ticks()),
            *self._names(),
            *_legend(self.series),
            *(
                part
                for number, points in enumerate(self.series.values())
                for part in _series(number, points, across, up)
            ),
        ]
        return _picture(self.title, HEIGHT, parts)

    def _names(self) -> Iterator[str]:
        middle = (TOP + HEIGHT - BOTTOM) / 2
        x, y = (
            f"{name}, logarithmic" if log else name
            for name, log in ((self.x, self.log_x), (self.y, self.log_y))
        )
        yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, "middle")
        yield (
            f'<text transform="translate(16 {middle:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(y)}</text>'
        )


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """Draw a bar for each, with its value at its end."""
    height = BAR_TOP + BAR_HEIGHT * len(values) + 8
    end = WIDTH - BAR_RIGHT
    across = Axis(0, max(values.values()), log=False, begin=BAR_LEFT, end=end)
    parts = []
    for number, (who, value) in enumerate(values.items()):
        top = BAR_TOP + BAR_HEIGHT * number
        colour = "s0" if who.startswith("Bellhop") else "other"
        width = across.at(value) - BAR_LEFT
        parts += [
            f'<rect class="{colour}" x="{BAR_LEFT}" y="{top}" width="{width:.1f}" '
            f'height="{BAR_HEIGHT - 8}"/>',
            _text(BAR_LEFT - 8, top + 16, who, "end"),
            _text(across.at(value) + 6, top + 16, f"{value:,.0f}", "start"),
        ]
    return _picture(f"{title}, {unit}", height, parts)


def _axis(
    values: list[float], log: bool, begin: float, end: float, *, from_zero: bool
) -> Axis:
    low, high = min(values), max(values)
    if log:
        if from_zero:  # to whole powers of ten
            low = 10 ** math.floor(math.log10(low))
            high = 10 ** math.ceil(math.log10(high))
        return Axis(low, high, True, begin, end)
    step = _round_step(high)
    low = 0 if from_zero or low < step else low
    return Axis(low, math.ceil(high / step) * step, False, begin, end)


def _round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, for about as many ticks as are wanted."""
    rough = (span or 1) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= rough)


def _grid(across: Axis, up: Axis, xs: Sequence[float]) -> Iterator[str]:
    for value in up.ticks():
        y = up.at(value)
        yield f'<path class="grid" d="M{across.begin} {y:.1f}H{across.end}"/>'
        yield _text(across.begin - 8, y + 4, _short(value), "end")
    for value in sorted(set(xs)):
        x = across.at(value)
        yield f'<path class="grid" d="M{x:.1f} {up.begin}v5"/>'
        yield _text(x, up.begin + 20, _short(value), "middle")


def _series(number: int, points: Points, across: Axis, up: Axis) -> Iterator[str]:
    colour = f"s{number % SERIES}"
    places = [(across.at(x), up.at(y)) for x, y in sorted(points)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path class="line {colour}" d="M{path}"/>'
    for x, y in places:
        yield f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _legend(series: Mapping[str, Points]) -> Iterator[str]:
    x = float(LEFT)
    for number, name in enumerate(series):
        colour = f"s{number % SERIES}"
        yield f'<circle class="{colour}" cx="{x + 5:.0f}" cy="44" r="5"/>'
        yield _text(x + 16, 48, name, "start")
        x += 40 + 7 * len(name)


def _picture(title: str, height: int, parts: Sequence[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{_style('light')}",
        f"@media (prefers-color-scheme: dark) {{ {_style('dark')} }}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _style(screen: str) -> str:
    back, words, grid, *series = _COLOURS[screen]
    rules = [
        f".back {{ fill: {back} }}",
        f"text {{ fill: {words}; font: 13px sans-serif }}",
        ".title { font-size: 16px; font-weight: bold }",
        f".grid {{ stroke: {grid}; fill: none }}",
        f".other {{ fill: {words}; opacity: 0.45 }}",
        *(
            f".s{number} {{ fill: {colour}; stroke: {colour} }}"
            for number, colour in enumerate(series)
        ),
        ".line { fill: none; stroke-width: 2 }",
    ]
    return " ".join(rules)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def _short(value: float) -> str:
    """Write a number so that it fits at a tick: 20k, 3M, 0.05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
