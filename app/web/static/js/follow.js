/* Follows an output of the API as it comes: events, from the byte on where the last ones
   ended, whatever happened to the connection or to the service in between.

   Where events are not to be had (all places of those who wait are taken) it is read
   from time to time; so it is for a page that has not been looked at for a while, since
   a browser has few connections for all its pages. */

import { call, Refused } from "./api.js";

const LIMIT_BYTES = 1_048_576; // the most that a read may ask for
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 5;
const READ_EVERY_SECONDS = 2;
const UNSEEN_SECONDS = 60;
const UNSEEN_READ_EVERY_SECONDS = 10;
const STEADY_SECONDS = 5; // a connection that held for so long was a good one

/** An output from an offset on; `start` and `stop` as often as one likes. */
export class Follower {
  /**
   * @param {string} task the path of the task
   * @param {{
   *   stream?: string, offset?: number,
   *   onPart: (text: string, droppedBytes: number) => void,
   *   onState: (state: "live"|"lost"|"reading"|"gone"|"ended", seconds?: number) => void,
   *   onEnd: (task: object) => void,
   * }} options what comes, how, and the task when it has ended and all was given
   */
  constructor(task, { stream = "stdout", offset = 0, onPart, onState, onEnd }) {
    this.offset = offset;
    this._task = task;
    this._stream = stream;
    this._tell = { onPart, onState, onEnd };
    this._source = null;
    this._timer = null;
    this._failures = 0;
    this._turn = 0; // of those that are open or read: what an old one brings is not taken
    this._isOn = false;
    this._isOver = false;
    document.addEventListener("visibilitychange", () => this.#seen());
    window.addEventListener("online", () => this.#hurry());
  }

  start() {
    if (this._isOn || this._isOver) return;
    this._isOn = true;
    this.#open();
  }

  stop() {
    this._isOn = false;
    this.#close();
  }

  #path(query) {
    const all = { stream: this._stream, offset: this.offset, ...query };
    return `${this._task}/output?${new URLSearchParams(all)}`;
  }

  /** Open it; where it cannot be opened although reading goes, go on with that. */
  #open({ reads = false } = {}) {
    this.#close();
    const source = new EventSource(this.#path());
    let since = null;
    source.onopen = () => {
      since = performance.now();
      this._tell.onState("live");
    };
    source.addEventListener("output", (event) => {
      this._failures = 0;
      this.#take({ ...JSON.parse(event.data), next_offset: Number(event.lastEventId) });
    });
    source.addEventListener("end", (event) => this.#end(JSON.parse(event.data)));
    source.onerror = () => {
      // Browsers try again by themselves, but not where the service has answered.
      if (since === null && reads) this.#readIn(READ_EVERY_SECONDS, "reading");
      else this.#retry(since === null ? 0 : (performance.now() - since) / 1000);
    };
    this._source = source;
  }

  #close() {
    this._turn += 1;
    clearTimeout(this._timer);
    this._source?.close();
    this._source = null;
  }

  #take({ text, dropped_bytes: dropped = 0, next_offset: next }) {
    this.offset = next;
    if (text || dropped) this._tell.onPart(text, dropped);
  }

  #end(task) {
    this._isOver = true;
    this.stop();
    this._tell.onState("ended");
    this._tell.onEnd(task);
  }

  #retry(heldSeconds = 0) {
    if (heldSeconds > STEADY_SECONDS) this._failures = 0;
    const wait = Math.min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** this._failures);
    this._failures += 1;
    this.#readIn(wait * (0.8 + 0.4 * Math.random()), "lost");
  }

  #readIn(seconds, state) {
    this.#close();
    this._tell.onState(state, seconds);
    this._timer = setTimeout(() => this.#read(), seconds * 1000);
  }

  /** Read what there is, which also tells what is wrong; then follow again. */
  async #read() {
    const turn = this._turn;
    try {
      const part = await call("GET", this.#path({ limit: LIMIT_BYTES }));
      if (turn === this._turn) this.#take(part);
      if (turn !== this._turn) return; // it was stopped meanwhile, maybe by this part
      if (part.eof) this.#end(await call("GET", this._task));
      else if (document.hidden) this.#readIn(UNSEEN_READ_EVERY_SECONDS, "reading");
      else this.#open({ reads: true });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (turn === this._turn) this.#refused(error.status);
    }
  }

  #refused(status) {
    if (status === 400 || status === 404) {
      this._isOver = true;
      this.stop();
      this._tell.onState("gone");
    } else if (status !== 401) this.#retry();
  }

  #seen() {
    clearTimeout(this._unseen);
    if (document.hidden) {
      const rest = () => this._isOn && this.#readIn(0, "reading");
      this._unseen = setTimeout(rest, UNSEEN_SECONDS * 1000);
    } else this.#hurry();
  }

  /** Wait no longer. */
  #hurry() {
    if (this._isOn && this._source === null) this.#readIn(0, "reading");
  }
}
