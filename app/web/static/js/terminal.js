/* Shows the lines of a screen: those that can be seen are in the document, and no
   others. It follows the end, pauses, wraps and searches; each by button and by key.

   What comes is taken in by slices between two frames, so that a flood leaves the page
   usable. Text is only ever the content of text nodes. */

import { Screen } from "./ansi.js";
import { look } from "./colours.js";
import { $, h, say } from "./dom.js";
import { Rows } from "./rows.js";
import { Search } from "./search.js";
import { t } from "./words.js";

const SLICE_CHARACTERS = 4096;
const SLICE_MILLISECONDS = 8;
const HIDDEN_MILLISECONDS = 50; // nobody sees a page that is slow then
const UNSEEN_MILLISECONDS = 250; // a page that is not shown gets no frames
const MARGIN_ROWS = 15;
const LEAST_COLUMNS = 20;
// Of what has come and is not taken in yet.
const FULL_CHARACTERS = 4_000_000;
const READY_CHARACTERS = 1_000_000;

const KEYS = { f: "follow", p: "pause", w: "wrap", n: "next", N: "previous" };

/** What a command writes, in a panel with `[data-part]` and buttons `[data-do]`. */
export class Terminal {
  /**
   * @param {HTMLElement} panel
   * @param {{onFull: () => void, onReady: () => void}} listener who stops sending more,
   *   and goes on
   */
  constructor(panel, { onFull, onReady }) {
    this.panel = panel;
    this.screen = new Screen();
    this.rows = new Rows(this.screen);
    this._listener = { onFull, onReady };
    this._region = $("[data-part=region]", panel);
    this._field = $("[data-part=search]", panel);
    this._ruler = h("div", { class: "ruler" }); // 100 letters wide, a row high
    this._canvas = h("div", { class: "terminal-canvas" });
    this._rows = h("div", { class: "terminal-rows" });
    this._canvas.append(this._rows, h("div", { class: "ruler-box" }, this._ruler));
    this._region.append(this._canvas);
    this._queue = [];
    this._queued = 0;
    this._drawn = [];
    this._search = null;
    this._marks = 0; // raised when rows are to be marked anew
    this._top = 0;
    this._isFull = false;
    this._isScheduled = false;
    this.is = { follow: true, pause: false, wrap: false };
    this.#listen();
    this.#measure();
  }

  /** Take what was written next. */
  append(text) {
    this.#take({ text });
  }

  /** Take a line of our own, which is told apart from the command's. */
  note(text) {
    this.#take({ note: text });
  }

  /** Know that nothing more will come. */
  finish() {
    this.#take({ end: true });
  }

  /** Draw again: the panel was hidden, or is of another size. */
  refresh() {
    this.#measure();
    this.#schedule();
  }

  /** Return all lines that are kept, as text. */
  get text() {
    const { lines } = this.screen;
    return lines.map((line) => (line.continues ? "" : "\n") + line.text).join("").slice(1);
  }

  /** Do what a button says, or a key. */
  do(what) {
    if (what === "next" || what === "previous") this.#step(what === "next");
    else this.#set(what, !this.is[what]);
  }

  #set(what, on) {
    if (this.is[what] === on) return;
    this.is[what] = on;
    $(`[data-do=${what}]`, this.panel).setAttribute("aria-pressed", String(on));
    if (what === "wrap") this.#rewrap();
    if (what === "pause") this.#told(on ? t("Paused") : t("Goes on"));
    this.#schedule();
  }

  #told(text) {
    $("[data-part=said]", this.panel).textContent = this.is.pause ? text : "";
    say(text);
  }

  // What comes

  #take(piece) {
    this._queue.push(piece);
    this._queued += piece.text?.length ?? 0;
    if (this._queued > FULL_CHARACTERS && !this._isFull) {
      this._isFull = true;
      this._listener.onFull();
    }
    this.#schedule();
  }

  #schedule() {
    if (this._isScheduled) return;
    this._isScheduled = true;
    const go = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      this._isScheduled = false;
      this.#frame();
    };
    const frame = requestAnimationFrame(go);
    const timer = setTimeout(go, UNSEEN_MILLISECONDS);
  }

  #frame() {
    if (!this.is.pause) this.#takeIn();
    this.#draw();
    const isSearching = this._search?.look() ?? false;
    this.#count();
    if (isSearching || (this._queue.length && !this.is.pause)) this.#schedule();
  }

  #takeIn() {
    const time = document.hidden ? HIDDEN_MILLISECONDS : SLICE_MILLISECONDS;
    const until = performance.now() + time;
    while (this._queue.length && performance.now() < until) this.#takeInNext();
    if (this._isFull && this._queued < READY_CHARACTERS) {
      this._isFull = false;
      this._listener.onReady();
    }
  }

  #takeInNext() {
    const { text, note, end } = this._queue[0];
    if (text !== undefined) {
      const slice = text.slice(0, SLICE_CHARACTERS);
      this.screen.write(slice);
      this._queued -= slice.length;
      this._queue[0] = { text: text.slice(SLICE_CHARACTERS) };
      if (text.length > SLICE_CHARACTERS) return;
    } else if (end) this.screen.finish();
    else this.screen.note(note);
    this._queue.shift();
  }

  // What is seen

  #draw() {
    if (!this._region.clientHeight) return; // it is hidden
    const before = this.rows.first;
    this.rows.update();
    this._canvas.style.height = `${this.rows.count * this._rowHeight}px`;
    this._canvas.style.minWidth = this.is.wrap ? "" : `calc(${this.rows.widest}ch + 3rem)`;
    const gone = (this.rows.first - before) * this._rowHeight;
    if (this.is.follow) this.#scrollTo(this._region.scrollHeight);
    else if (gone) this.#scrollTo(this._region.scrollTop - gone);
    this.#place(...this.#visible());
    this.#tellLetGo();
  }

  #visible() {
    const { first, end } = this.rows;
    const top = first + Math.floor(this._region.scrollTop / this._rowHeight);
    const shown = Math.ceil(this._region.clientHeight / this._rowHeight);
    const from = Math.max(first, top - MARGIN_ROWS);
    return [from, Math.min(end, top + shown + MARGIN_ROWS)];
  }

  /** Put rows into the document, and leave alone those that stand there as they are. */
  #place(from, to) {
    const old = new Map(this._drawn.map((each) => [each.row, each]));
    this._drawn = [];
    for (let row = from; row < to; row += 1) {
      this._drawn.push(this.#row(row, old.get(row)));
      old.delete(row);
    }
    for (const { element } of old.values()) element.remove();
    let next = this._rows.firstChild;
    for (const { element } of this._drawn) {
      if (element === next) next = next.nextSibling;
      else this._rows.insertBefore(element, next);
    }
    const offset = (from - this.rows.first) * this._rowHeight;
    this._rows.style.transform = `translateY(${offset}px)`;
  }

  #row(row, old) {
    const { line, from, to, nth } = this.rows.at(row);
    const marks = this._marks;
    const isSame = old?.line === line && old.version === line.version && old.from === from;
    if (isSame && old.to === to && old.marks === marks) return old;
    const element = old?.element ?? h("div");
    element.className = line.notice ? "line notice-line" : "line";
    if (nth) element.classList.add("wrapped");
    else if (line.continues) element.classList.add("continues");
    element.replaceChildren(...this.#parts(line, from, to));
    return { row, line, version: line.version, from, to, marks, element };
  }

  #parts(line, from, to) {
    const marks = this._search?.marks(line.text) ?? [];
    const cuts = new Set([from, to]);
    for (const at of [...line.runs.map((run) => run.at), ...marks.flat()]) {
      if (at > from && at < to) cuts.add(at);
    }
    const ordered = [...cuts].sort((a, b) => a - b);
    const parts = ordered.slice(1).map((end, i) => [ordered[i], end]);
    return parts.map(([begin, end]) => {
      const mark = marks.find((each) => each[0] <= begin && begin < each[1]);
      return this.#part(line, begin, end, mark);
    });
  }

  #part(line, begin, end, mark) {
    const text = line.text.slice(begin, end);
    const style = line.styleAt(begin);
    if (style === null && !mark) return document.createTextNode(text);
    const element = h(mark ? "mark" : "span", {}, text);
    if (style) dress(element, look(style));
    const { current } = this._search ?? {};
    const isCurrent = mark && current && this.#lineAt(current) === line;
    if (isCurrent && current.at === mark[0]) element.classList.add("current");
    return element;
  }

  #lineAt(found) {
    return this.screen.lines[found.line - this.screen.letGo];
  }

  #tellLetGo() {
    const place = $("[data-part=let-go]", this.panel);
    const count = this.screen.letGo;
    place.hidden = count === 0;
    if (count === this._toldLetGo) return;
    this._toldLetGo = count;
    const shown = count.toLocaleString(document.documentElement.lang);
    place.textContent = t("The first {count} lines are not shown any more.", {
      count: shown,
    });
  }

  #measure() {
    const { width, height } = this._ruler.getBoundingClientRect();
    if (!height) return;
    this._letterWidth = width / 100;
    this._rowHeight = height;
    this.#rewrap();
  }

  #rewrap() {
    const style = getComputedStyle(this._rows);
    const edges = Number.parseFloat(style.paddingLeft) + Number.parseFloat(style.paddingRight);
    const room = Math.floor((this._region.clientWidth - edges) / this._letterWidth);
    const columns = this.is.wrap ? Math.max(LEAST_COLUMNS, room) : null;
    if (columns === this.rows.columns) return;
    const top = this.rows.lineOf(this.#topRow());
    this.rows.wrap(columns);
    this._drawn = [];
    this._rows.replaceChildren();
    if (!this.is.follow) this.#show(this.rows.rowOf(top, 0), 0);
  }

  #topRow() {
    return this.rows.first + Math.floor(this._region.scrollTop / this._rowHeight);
  }

  // Where it is looked at

  #scrollTo(top) {
    this._region.scrollTop = top;
    this._top = this._region.scrollTop;
  }

  /** Scroll so that a row stands at a share of the height. */
  #show(row, share) {
    const room = this._region.clientHeight * share;
    this._canvas.style.height = `${this.rows.count * this._rowHeight}px`;
    this.#scrollTo((row - this.rows.first) * this._rowHeight - room);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this._region;
    if (Math.abs(scrollTop - this._top) >= 1) {
      const isAtEnd = scrollTop + clientHeight >= scrollHeight - 2;
      if (scrollTop < this._top) this.#set("follow", false);
      else if (isAtEnd) this.#set("follow", true);
    }
    this._top = scrollTop;
    this.#schedule();
  }

  // What is looked for

  #find() {
    const query = this._field.value;
    this._search = query ? new Search(this.screen, query) : null;
    this._marks += 1;
    this.#schedule();
  }

  #step(forward) {
    if (!this._search) {
      this._field.focus();
      return;
    }
    while (this._search.look()); // from here on it has to be known where they are
    const found = this._search.step(forward, this.rows.lineOf(this.#topRow()));
    if (found) this.#goTo(found);
    this.#count();
    say($("[data-part=count]", this.panel).textContent);
  }

  #goTo({ line, at }) {
    this.#set("follow", false);
    this.rows.update();
    this._marks += 1;
    this.#show(this.rows.rowOf(line, at), 0.4);
    this.#draw();
    const mark = $("mark.current", this._rows);
    if (!mark) return;
    const { left, right } = mark.getBoundingClientRect();
    const frame = this._region.getBoundingClientRect();
    if (left < frame.left || right > frame.right) {
      this._region.scrollLeft += left - frame.left - frame.width * 0.3;
    }
  }

  #count() {
    const place = $("[data-part=count]", this.panel);
    const search = this._search;
    const count = search?.found.length ?? 0;
    const many = search?.isFull ? t("more than {count}", { count }) : count;
    const text = search?.position
      ? t("{position} of {count}", { position: search.position, count: many })
      : t("{count} found", { count: many });
    const shown = search ? text : "";
    if (place.textContent !== shown) place.textContent = shown;
  }

  // Who asks for it

  #listen() {
    const { panel } = this;
    panel.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.do(button.dataset.do);
    });
    this._region.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this._region.addEventListener("keydown", (event) => this.#key(event));
    this._region.addEventListener("wheel", (event) => this.#wheel(event), { passive: true });
    this._region.addEventListener("copy", (event) => this.#copy(event));
    this._field.addEventListener("input", () => this.#find());
    this._field.addEventListener("keydown", (event) => this.#searchKey(event));
    document.addEventListener("selectionchange", () => this.#selected());
    const observer = new ResizeObserver(() => this.refresh());
    observer.observe(this._region);
    observer.observe(this._ruler);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const what = KEYS[event.key];
    if (what) {
      event.preventDefault();
      this.do(what);
    } else if (event.key === "End") this.#set("follow", true);
    else if (["ArrowUp", "PageUp", "Home"].includes(event.key)) this.#set("follow", false);
    if (event.key !== "Home") return;
    event.preventDefault(); // the browser would scroll after the next lines are drawn
    this.#scrollTo(0);
    this.#schedule();
  }

  #searchKey(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.#step(!event.shiftKey);
    } else if (event.key === "Escape") {
      this._field.value = "";
      this.#find();
      this._region.focus();
    }
  }

  #wheel(event) {
    if (event.deltaY < 0 && this._region.scrollTop > 0) this.#set("follow", false);
  }

  /** What is being selected must not run away. */
  #selected() {
    const selection = document.getSelection();
    const isHere = this._rows.contains(selection.anchorNode);
    if (isHere && !selection.isCollapsed) this.#set("follow", false);
  }

  /** Copy lines as they were written, not as they are wrapped. */
  #copy(event) {
    const selection = document.getSelection();
    if (selection.isCollapsed) return;
    const range = selection.getRangeAt(0);
    const chosen = this._drawn.filter(({ element }) => range.intersectsNode(element));
    const text = chosen.map(({ element, line, from }, index) => {
      const isSameLine = from > 0 || line.continues;
      return (index && !isSameLine ? "\n" : "") + within(range, element);
    });
    event.clipboardData.setData("text/plain", text.join(""));
    event.preventDefault();
  }
}

/** Return the text of an element that is within a range. */
function within(range, element) {
  const part = document.createRange();
  part.selectNodeContents(element);
  if (range.compareBoundaryPoints(Range.START_TO_START, part) > 0) {
    part.setStart(range.startContainer, range.startOffset);
  }
  if (range.compareBoundaryPoints(Range.END_TO_END, part) < 0) {
    part.setEnd(range.endContainer, range.endOffset);
  }
  return part.toString();
}

function dress(element, { names, ink, paper }) {
  element.classList.add(...names);
  if (ink) element.style.color = ink;
  if (paper) element.style.backgroundColor = paper;
}
