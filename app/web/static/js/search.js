/* Finds a text in the lines of a screen, a little at a time, and goes on as they grow. */

const SLICE_MILLISECONDS = 6;
const MOST_FOUND = 100_000;

/** What was found of one text, and which of that is looked at. */
export class Search {
  constructor(screen, query) {
    this._screen = screen;
    this._next = screen.letGo; // the first line that is not looked through
    this.expression = new RegExp(query.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "gi");
    this.found = []; // [{line, at}], lines counted from the first that there ever was
    this.current = null;
  }

  get isFull() {
    return this.found.length >= MOST_FOUND;
  }

  /** Look on for a moment; return whether there is more to look through. */
  look() {
    this.#forget();
    const { lines, letGo } = this._screen;
    const until = performance.now() + SLICE_MILLISECONDS;
    // The last line may still change: it is looked through anew each time.
    while (this.found.at(-1)?.line >= this._next) this.found.pop();
    while (this._next < letGo + lines.length - 1 && !this.isFull) {
      this.#lookAt(this._next);
      this._next += 1;
      if (this._next % 64 === 0 && performance.now() > until) return true;
    }
    if (!this.isFull) this.#lookAt(this._next);
    return false;
  }

  /** Go to the next one, or the one before; the first time to the one from a line on. */
  step(forward, fromLine) {
    const { found } = this;
    if (!found.length) return null;
    let index = this.position - 1;
    if (index < 0) {
      index = found.findIndex(({ line }) => line >= fromLine);
      if (!forward) index -= 1;
    } else index += forward ? 1 : -1;
    this.current = found.at(index < 0 ? -1 : index % found.length);
    return this.current;
  }

  /** Return which of those found is looked at, counted from 1; 0 for none. */
  get position() {
    const { line, at } = this.current ?? {};
    return this.found.findIndex((each) => each.line === line && each.at === at) + 1;
  }

  /** Return the parts of a text in which it is: [[from, to]]. */
  marks(text) {
    return [...text.matchAll(this.expression)].map((m) => [m.index, m.index + m[0].length]);
  }

  #lookAt(number) {
    const line = this._screen.lines[number - this._screen.letGo];
    for (const [at] of this.marks(line.text)) this.found.push({ line: number, at });
  }

  #forget() {
    const { letGo } = this._screen;
    this._next = Math.max(this._next, letGo);
    const kept = this.found.findIndex(({ line }) => line >= letGo);
    if (kept) this.found.splice(0, kept < 0 ? this.found.length : kept);
  }
}
