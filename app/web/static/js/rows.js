/* Which rows the lines of a screen take: one each, or as many as they need where they
   are wrapped. All rows are equally high, so that a row is found by arithmetic. */

import { whole } from "./ansi.js";

const PLAIN = /^[\x20-\x7e]*$/; // each character has one column
const TAB = 8;
// Chinese, Japanese, Korean and pictures, roughly: too wide is better than cut off.
const WIDE =
  /[\u1100-\u115f\u2600-\u27bf\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f000}-\u{3fffd}]/u;

/** The rows of a screen, by a number that stays theirs when older ones are let go. */
export class Rows {
  constructor(screen) {
    this._screen = screen;
    this._letGo = screen.letGo;
    this.widest = 0; // columns
    this.wrap(null);
  }

  /** Wrap lines after so many columns, null for not at all. */
  wrap(columns) {
    this.columns = columns;
    this.first = 0;
    this._ends = []; // after each line, the number of the next row
    this.update();
  }

  get end() {
    return this._ends.at(-1) ?? this.first;
  }

  get count() {
    return this.end - this.first;
  }

  /** Take in what has been written; only the last line can have changed. */
  update() {
    this.#letGo();
    const { lines } = this._screen;
    this._ends.length = Math.max(0, this._ends.length - 1);
    for (let i = this._ends.length; i < lines.length; i += 1) {
      this._ends.push(this.end + this.#height(lines[i]));
    }
  }

  /** Return the part of a line that stands in a row. */
  at(row) {
    const index = this.#lineAt(row);
    const line = this._screen.lines[index];
    const nth = row - (index ? this._ends[index - 1] : this.first);
    if (this.columns === null) return { line, from: 0, to: line.text.length, nth };
    const cuts = [0, ...breaks(line.text, this.columns), line.text.length];
    return { line, from: cuts[nth], to: cuts[nth + 1], nth };
  }

  /** Return the row in which a character of a line stands; lines count from the first. */
  rowOf(line, at) {
    const index = line - this._screen.letGo;
    const begin = index ? this._ends[index - 1] : this.first;
    if (this.columns === null) return begin;
    const cuts = breaks(this._screen.lines[index].text, this.columns);
    return begin + cuts.filter((cut) => cut <= at).length;
  }

  /** Return the number of the line that a row belongs to. */
  lineOf(row) {
    return this.#lineAt(row) + this._screen.letGo;
  }

  #letGo() {
    const gone = Math.min(this._screen.letGo - this._letGo, this._ends.length);
    this._letGo = this._screen.letGo;
    if (gone > 0) this.first = this._ends.splice(0, gone).at(-1);
  }

  #height({ text }) {
    const isPlain = PLAIN.test(text);
    this.widest = Math.max(this.widest, isPlain ? text.length : columnsOf(text));
    if (this.columns === null) return 1;
    if (isPlain) return Math.max(1, Math.ceil(text.length / this.columns));
    return breaks(text, this.columns).length + 1;
  }

  #lineAt(row) {
    let [low, high] = [0, this._ends.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._ends[middle] > row) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Return where a text is cut so that no part is wider than that. */
function breaks(text, columns) {
  const cuts = [];
  if (PLAIN.test(text)) {
    for (let at = columns; at < text.length; at += columns) cuts.push(at);
    return cuts;
  }
  walk(text, (at, column, width) => {
    if (column + width <= columns) return column + width;
    cuts.push(at);
    return width;
  });
  return cuts;
}

function columnsOf(text) {
  return walk(text, (_, column, width) => column + width);
}

function walk(text, step) {
  let column = 0;
  for (let at = 0; at < text.length; ) {
    const next = whole(text, at + 1) > at ? at + 1 : at + 2;
    const character = text.slice(at, next);
    const width = character === "\t" ? TAB - (column % TAB) : 1 + WIDE.test(character);
    column = step(at, column, width);
    at = next;
  }
  return column;
}
