/* What a command writes, as lines: the part of a terminal's language that output is
   written in. Nothing is drawn here; see terminal.js.

   Colours, carriage returns, backspaces and erased lines do what they do in a terminal.
   Other sequences are swallowed, also when they come in pieces. What cannot be seen but
   could mislead (other controls, what turns the direction of text) is made visible. */

import { CONTROL, styled } from "./colours.js";

/** The most characters of a line: what is longer goes on in a line that continues it. */
export const LINE_LENGTH = 2000;

const MOST_LINES = 200_000;
const MOST_WEIGHT = 16_000_000; // characters, and what their styles weigh
const RUN_WEIGHT = 16; // of a change of style, in characters
const LINE_WEIGHT = 40;

const SPECIAL =
  /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const CSI = /\x1b\[([\x30-\x3f]*)[\x20-\x2f]*([\x40-\x7e])/y;
const STRING = /\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)/y; // titles, links, pictures
const OTHER = /\x1b[\x20-\x2f]*[\x30-\x4f\x51-\x57\x59\x5a\x5c\x60-\x7e]/y;
const TORN = /\x1b(?:\[[\x30-\x3f]*[\x20-\x2f]*|[\]PX^_][^\x07\x1b\n]*\x1b?|[\x20-\x2f]*)$/y;
// What is longer is no sequence that somebody forgot to end: nothing is hidden for it.
const LONGEST_TORN = 4096;

const NO_RUNS = []; // of most lines

/** One line: its text, and from which character on it has which style. */
export class Line {
  constructor({ continues = false, notice = false } = {}) {
    this.text = "";
    this.runs = NO_RUNS; // [{at, style}], by `at`
    this.continues = continues; // the line before, which was too long
    this.notice = notice; // is ours, not the command's
    this.version = 0;
  }

  /** Write over what stands from `column` on. */
  write(column, text, style) {
    this.version += 1;
    const { length } = this.text;
    if (column > length) this.write(length, " ".repeat(column - length), null);
    const end = column + text.length;
    if (column < length) this.#cut(column, end, style);
    this.text = this.text.slice(0, column) + text + this.text.slice(end);
    this.#begin(column, style);
  }

  /** Erase from one character to before another. */
  erase(from, to) {
    if (from >= this.text.length) return;
    if (to < this.text.length) this.write(from, " ".repeat(to - from), null);
    else {
      this.text = this.text.slice(0, from);
      this.runs.length = this.#runFrom(from);
      this.version += 1;
    }
  }

  /** Return the style of a character. */
  styleAt(column) {
    return this.runs[this.#runFrom(column + 1) - 1]?.style ?? null;
  }

  /** Forget the styles of what is to have another, keep that of what follows. */
  #cut(from, to, style) {
    const after = this.styleAt(to);
    const [begin, end] = [this.#runFrom(from), this.#runFrom(to)];
    const goesOn = to >= this.text.length || this.runs[end]?.at === to;
    const kept = goesOn || after === style ? [] : [{ at: to, style: after }];
    if (this.runs === NO_RUNS) this.runs = kept;
    else this.runs.splice(begin, end - begin, ...kept);
  }

  #begin(at, style) {
    const index = this.#runFrom(at);
    const before = this.runs[index - 1]?.style ?? null;
    if (before === style) return;
    if (this.runs === NO_RUNS) this.runs = [];
    this.runs.splice(index, 0, { at, style });
  }

  /** Return the index of the first run that begins at a character or after it. */
  #runFrom(column) {
    let [low, high] = [0, this.runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.runs[middle].at < column) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get weight() {
    return this.text.length + RUN_WEIGHT * this.runs.length + LINE_WEIGHT;
  }
}

/** All lines that are kept; the last one is being written. */
export class Screen {
  constructor({ mostLines = MOST_LINES, mostWeight = MOST_WEIGHT } = {}) {
    this.lines = [new Line()];
    this.letGo = 0; // lines, from the front
    this._most = { lines: mostLines, weight: mostWeight };
    this._weight = 0; // of all lines but the last
    this._column = 0;
    this._style = null;
    this._torn = "";
  }

  /** Add what the command wrote next; it may end anywhere. */
  write(text) {
    const all = this._torn + text;
    this._torn = "";
    let at = 0;
    while (at < all.length) {
      SPECIAL.lastIndex = at;
      const found = SPECIAL.exec(all);
      const until = found ? found.index : all.length;
      if (until > at) this.#put(all.slice(at, until));
      at = found ? this.#special(all, until) : until;
    }
    this.#bound();
  }

  /** Show the front of a sequence that never came to its end. */
  finish() {
    while (this._torn) {
      const torn = this._torn;
      this._torn = "";
      this.#put(symbol(torn[0]), CONTROL);
      this.write(torn.slice(1));
    }
  }

  /** Add a line of our own. */
  note(text) {
    this.finish();
    if (this.#last.text) this.#newLine();
    [this._column, this._style] = [0, null];
    const line = new Line({ notice: true });
    line.write(0, text, null);
    this.lines.splice(-1, 0, line);
    this._weight += line.weight;
  }

  get #last() {
    return this.lines[this.lines.length - 1];
  }

  #put(text, style = this._style) {
    for (let at = 0; at < text.length; ) {
      if (this._column >= LINE_LENGTH) this.#newLine({ continues: true });
      const end = whole(text, at + LINE_LENGTH - this._column);
      if (end <= at) {
        this.#newLine({ continues: true }); // no room for both halves of a character
        continue;
      }
      const piece = text.slice(at, end);
      this.#last.write(this._column, piece, style);
      this._column += piece.length;
      at = end;
    }
  }

  /** Do what a special character stands for; return where to go on. */
  #special(all, at) {
    const character = all[at];
    if (character === "\n") this.#newLine();
    else if (character === "\r") this._column = 0;
    else if (character === "\b") this._column = Math.max(0, this._column - 1);
    else if (character === "\x1b") return this.#escape(all, at);
    else this.#put(symbol(character), CONTROL);
    return at + 1;
  }

  #escape(all, at) {
    const csi = matched(CSI, all, at);
    if (csi) this.#control(csi[1], csi[2]);
    const whole = csi ?? matched(STRING, all, at) ?? matched(OTHER, all, at);
    if (whole) return at + whole[0].length;
    if (all.length - at <= LONGEST_TORN && matched(TORN, all, at)) {
      this._torn = all.slice(at);
      return all.length;
    }
    this.#put(symbol(all[at]), CONTROL);
    return at + 1;
  }

  #control(parameters, final) {
    if (!/^[\d;:]*$/.test(parameters)) return;
    const n = Number.parseInt(parameters, 10) || 0;
    if (final === "m") this._style = styled(this._style, parameters);
    else if (final === "K") this.#erase(n);
    else if (final === "G") this.#moveTo(Math.max(1, n) - 1);
    else if (final === "C") this.#moveTo(this._column + Math.max(1, n));
    else if (final === "D") this.#moveTo(this._column - Math.max(1, n));
  }

  #moveTo(column) {
    this._column = Math.min(LINE_LENGTH - 1, Math.max(0, column));
  }

  #erase(what) {
    if (what === 0) this.#last.erase(this._column, Infinity);
    else if (what === 1) this.#last.erase(0, this._column + 1);
    else if (what === 2) this.#last.erase(0, Infinity);
  }

  #newLine(options) {
    this._weight += this.#last.weight;
    this.lines.push(new Line(options));
    this._column = 0;
  }

  /** Let the oldest lines go where there are too many, a tenth at a time. */
  #bound() {
    const { lines, weight } = this._most;
    if (this.lines.length <= lines && this._weight <= weight) return;
    let count = 0;
    const isTooMuch = () =>
      this.lines.length - count > lines * 0.9 || this._weight > weight * 0.9;
    while (count < this.lines.length - 1 && isTooMuch()) {
      this._weight -= this.lines[count].weight;
      count += 1;
    }
    this.lines.splice(0, count);
    this.letGo += count;
  }
}

/** Return up to which index a text can be cut so that no character is in two. */
export function whole(text, end) {
  if (end >= text.length) return text.length;
  return isHigh(text.charCodeAt(end - 1)) ? end - 1 : end;
}

function isHigh(unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function matched(expression, text, at) {
  expression.lastIndex = at;
  return expression.exec(text);
}

/** Return what stands for a character that cannot be seen, as less(1) has it. */
function symbol(character) {
  const code = character.charCodeAt(0);
  if (code < 0x80) return `^${String.fromCharCode(code ^ 0x40)}`;
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}
