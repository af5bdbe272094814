/* A line chart of the last minutes: lines, an axis with its unit, and a table of what
   they are now, at least and at most. A moment can be looked at with the pointer or the
   keyboard; who sees no lines hears it. What is drawn, and when, is not decided here. */

import { h, fill } from "./dom.js";
import { t } from "./words.js";

const HEIGHT = 150;
const LEFT = 46; // room for the axis
const BOTTOM = 20;
const TOP = 8;
const GAP_MS = 2500; // over more than that no line is drawn
const SVG = "http://www.w3.org/2000/svg";
const KEYS = {
  ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1,
  PageDown: -60, PageUp: 60, Home: -Infinity, End: Infinity,
};

/**
 * One chart in a figure. `series` are `{name, of(sample)}`, a value or null; `unit(most)`
 * returns `{name, per, digits}`: what a value is divided by, and how it is written;
 * `least` is the least that the axis goes up to, `fixed` whether also the most.
 */
export class Chart {
  constructor(figure, { title, series, unit, least, fixed = false, onMoment }) {
    Object.assign(this, { figure, title, series, unit, least, fixed, onMoment });
    this.samples = [];
    this.moment = null; // an index of a sample; null: the last one
    this.#build();
  }

  /** Draw samples `{at, …}` from one time to another, with a mark at a moment. */
  draw(samples, { from, to, at = null }) {
    Object.assign(this, { samples, from, to });
    this.moment = at === null ? null : nearest(samples, at);
    this.values = this.series.map(({ of }) => samples.map(of));
    const most = Math.max(this.least, this.fixed ? 0 : this.#most());
    this.measure = this.unit(most);
    this.top = niceAbove(most / this.measure.per) * this.measure.per;
    this.#drawAxes();
    const paths = this.values.map((values) => this.#path(values));
    paths.forEach((path, n) => this.lines[n].setAttribute("d", path));
    this.area.setAttribute("d", this.#closed(paths[0]));
    this.#drawMoment();
    this.#fillTable();
  }

  #build() {
    this.grid = svg("g", { class: "axis" });
    this.area = svg("path", { class: "area" });
    this.lines = this.series.map((_, n) => svg("path", { class: `line line-${n + 1}` }));
    this.lines.reverse();
    this.mark = svg("path", { class: "mark" });
    this.drawing = svg("svg", { height: HEIGHT, "aria-hidden": "true" });
    this.drawing.append(this.grid, this.area, ...this.lines, this.mark);
    this.lines.reverse();
    this.plot = h("div", {
      class: "plot", tabindex: 0, role: "slider",
      "aria-label": t("{title}: a moment of the last minutes", { title: this.title }),
      "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0,
    });
    this.plot.append(this.drawing);
    this.legend = h("table", { class: "legend", "aria-label": this.title });
    this.figure.append(this.plot, this.legend);
    this.#buildTable();
    this.#listen();
  }

  #buildTable() {
    this.when = h("th", { scope: "col" });
    const head = h("tr", {}, h("td"), this.when,
      h("th", { scope: "col" }, t("least")), h("th", { scope: "col" }, t("most")));
    this.cells = this.series.map(() => [h("td"), h("td"), h("td")]);
    const rows = this.series.map(({ name }, n) =>
      h("tr", {}, h("th", { scope: "row" }, h("span", { class: `key key-${n + 1}` }), name), this.cells[n]));
    fill(this.legend, h("thead", {}, head), h("tbody", {}, rows));
  }

  #listen() {
    const { plot } = this;
    plot.addEventListener("pointermove", (event) => {
      const x = event.clientX - plot.getBoundingClientRect().left;
      this.onMoment(this.#timeAt(x));
    });
    plot.addEventListener("pointerleave", () => this.onMoment(null));
    plot.addEventListener("blur", () => this.onMoment(null));
    plot.addEventListener("focus", () => this.#tell());
    plot.addEventListener("keydown", (event) => this.#step(event));
  }

  #step(event) {
    const last = this.samples.length - 1;
    if (last < 0) return;
    if (event.key === "Escape") this.onMoment(null);
    else if (event.key in KEYS) {
      const next = (this.moment ?? last) + KEYS[event.key];
      const index = Math.min(last, Math.max(0, next));
      this.onMoment(index === last ? null : this.samples[index].at);
    } else return;
    event.preventDefault();
    this.#tell();
  }

  /** Say the moment by the slider's value: only when asked, not every second. */
  #tell() {
    const last = this.samples.length - 1;
    const index = this.moment ?? last;
    if (last < 0) return;
    const told = this.series.map(({ name }, n) => `${name} ${this.#text(this.values[n][index])}`);
    const text = `${clock(this.samples[index].at)}: ${told.join(", ")} ${this.measure.name}`;
    this.plot.setAttribute("aria-valuemax", last);
    this.plot.setAttribute("aria-valuenow", index);
    this.plot.setAttribute("aria-valuetext", text.trim());
  }

  #drawAxes() {
    this.width = this.plot.clientWidth || 300;
    this.drawing.setAttribute("width", this.width);
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const unit = this.figure.querySelector("[data-unit]");
    if (unit.textContent !== this.measure.name) unit.textContent = this.measure.name;
    const state = [this.width, this.top, this.to - this.from].join();
    if (state === this.drawn) return;
    this.drawn = state;
    this.grid.replaceChildren(...this.#levels(), ...this.#times());
  }

  #levels() {
    return [0, 0.5, 1].flatMap((part) => {
      const y = this.#y(part * this.top);
      const label = svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" });
      label.textContent = axisText((part * this.top) / this.measure.per);
      return [svg("path", { d: `M${LEFT} ${y}H${this.width}` }), label];
    });
  }

  #times() {
    const minutes = (this.to - this.from) / 60_000;
    return [[0, "start"], [0.5, "middle"], [1, "end"]].map(([part, anchor]) => {
      const x = LEFT + part * (this.width - LEFT);
      const label = svg("text", { x, y: HEIGHT - 4, "text-anchor": anchor });
      const ago = minutes * (1 - part);
      label.textContent = ago === 0 ? t("now") : ago < 1
        ? t("{count} s ago", { count: ago * 60 }) : t("{count} min ago", { count: ago });
      return label;
    });
  }

  #path(values) {
    let path = "", before = null;
    this.samples.forEach(({ at }, n) => {
      if (values[n] === null) return (before = null);
      const goesOn = before !== null && at - before <= GAP_MS;
      path += `${goesOn ? "L" : "M"}${tenth(this.#x(at))} ${tenth(this.#y(values[n]))}`;
      before = at;
    });
    return path;
  }

  /** Return a path as areas down to the axis. */
  #closed(path) {
    const floor = this.#y(0);
    return path.split("M").filter(Boolean).map((piece) => {
      const points = piece.split("L");
      const [first, last] = [points[0], points.at(-1)].map((point) => point.split(" ")[0]);
      return `M${piece}L${last} ${floor}L${first} ${floor}Z`;
    }).join("");
  }

  #drawMoment() {
    const sample = this.moment === null ? null : this.samples[this.moment];
    const d = sample ? `M${tenth(this.#x(sample.at))} ${TOP}V${HEIGHT - BOTTOM}` : "";
    this.mark.setAttribute("d", d);
  }

  #fillTable() {
    const index = this.moment ?? this.samples.length - 1;
    put(this.when, this.moment === null ? t("now") : clock(this.samples[index].at));
    this.values.forEach((values, n) => {
      const known = values.filter((value) => value !== null);
      const [least, most] = [Math.min(...known), Math.max(...known)];
      const shown = [values[index] ?? null, known.length ? least : null, known.length ? most : null];
      shown.forEach((value, cell) => put(this.cells[n][cell], this.#text(value)));
    });
  }

  #text(value) {
    if (value === null || value === undefined) return "–";
    return (value / this.measure.per).toFixed(this.measure.digits);
  }

  #most() {
    return this.values.flat().reduce((most, value) => Math.max(most, value ?? 0), 0);
  }

  #x(at) {
    return LEFT + ((at - this.from) / (this.to - this.from)) * (this.width - LEFT);
  }

  #y(value) {
    return HEIGHT - BOTTOM - (Math.min(value, this.top) / this.top) * (HEIGHT - BOTTOM - TOP);
  }

  #timeAt(x) {
    return this.from + ((x - LEFT) / (this.width - LEFT)) * (this.to - this.from);
  }
}

/** Return the next round number that is not below a value. */
export function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) * power;
}

/** Return the index of the sample that is nearest to a time. */
export function nearest(samples, time) {
  let found = samples.length ? 0 : null;
  samples.forEach(({ at }, index) => {
    if (Math.abs(at - time) < Math.abs(samples[found].at - time)) found = index;
  });
  return found;
}

function tenth(length) {
  return Math.round(length * 10) / 10;
}

function clock(at) {
  return new Date(at).toLocaleTimeString(document.documentElement.lang, { hour12: false });
}

function axisText(value) {
  return String(Number(value.toPrecision(3)));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function svg(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
