/*
 * The list of tasks, as it is now: rows follow what the API says of their tasks, which
 * is asked now and then, and rarely where it does not answer or nobody looks.
 */
import { again } from "./again.js";
import { call } from "./api.js";
import { $, badge, fill, h, say } from "./dom.js";
import { lasting } from "./duration.js";
import { stateWord, t } from "./words.js";

const LIVE_MS = 2000; // while something on the page goes on
const IDLE_MS = 5000;
const MOST_MS = 30_000;
const TICK_MS = 1000;

/** A row, which shows one task. */
class Row {
  constructor(element) {
    this.element = element;
    this.id = element.dataset.task;
    this.cancel = $(".cancel", element);
    if (this.cancel) {
      this.cancel.disabled = false;
      this.cancel.addEventListener("click", () => this.#end());
    }
  }

  get isUnfinished() {
    return "unfinished" in this.element.dataset;
  }

  /** Show a task of the API. */
  show(task) {
    const shown = $(".state .badge", this.element);
    if (shown.dataset.state !== task.state) this.#changeState(task);
    if (task.started) this.element.dataset.started = Date.parse(task.started) / 1000;
    if (task.finished) this.#finish(task);
  }

  /** Show for how long it has run by now. */
  tick(now) {
    const { started } = this.element.dataset;
    if (started) $(".lasted", this.element).textContent = lasting(now - started);
  }

  #changeState(task) {
    fill($(".state", this.element), badge(task.state));
    const name = $(".what a", this.element).textContent;
    say(t("{name}: {state}", { name, state: stateWord(task.state) }));
  }

  #finish(task) {
    delete this.element.dataset.unfinished;
    this.tick(Date.parse(task.finished) / 1000);
    $(".exit", this.element).textContent = exitOf(task);
    if (document.activeElement === this.cancel) $(".what a", this.element).focus();
    fill($(".actions", this.element));
  }

  /** It is not kept any more. */
  forget() {
    delete this.element.dataset.unfinished;
    fill($(".actions", this.element));
    fill($(".exit", this.element), t("not kept"));
  }

  async #end() {
    if (this.cancel.ariaDisabled === "true") return;
    this.cancel.ariaDisabled = "true"; // one that is disabled would lose the focus
    try {
      await call("DELETE", `/v3/task/${this.id}`);
      this.show(await call("GET", `/v3/task/${this.id}`));
    } catch (refused) {
      this.cancel.ariaDisabled = "false";
      const why = refused.problem?.detail || t("The service does not answer.");
      fill($(".actions", this.element), this.cancel, h("p", { class: "fault" }, why));
      say(why);
    }
  }
}

function exitOf({ signal, reason, returncode }) {
  if (signal) return signal;
  return reason && reason !== "exit" ? reason : String(returncode ?? "–");
}

/** The page: asks for what it shows, again and again. */
class Page {
  #failed = 0;

  constructor(table) {
    this.table = table;
    this.rows = new Map();
    for (const element of table.querySelectorAll("[data-task]"))
      this.rows.set(element.dataset.task, new Row(element));
    this.ahead = Date.now() / 1000 - Number(table.dataset.now); // of the host's clock
  }

  start() {
    setInterval(() => this.#tick(), TICK_MS);
    again(() => this.#look(), this.#pause());
  }

  get #unfinished() {
    return [...this.rows.values()].filter((row) => row.isUnfinished);
  }

  #tick() {
    const now = Date.now() / 1000 - this.ahead;
    for (const row of this.#unfinished) row.tick(now);
  }

  #pause() {
    const every = this.#unfinished.length ? LIVE_MS : IDLE_MS;
    return Math.min(MOST_MS, every * 2 ** this.#failed);
  }

  async #look() {
    try {
      await this.#refresh();
      if (this.#failed) tellAway("");
      this.#failed = 0;
    } catch (refused) {
      if (refused.name !== "Refused") throw refused;
      this.#failed += 1;
      tellAway(t("The service does not answer; what is shown may be old. Trying again."));
    }
    return this.#pause();
  }

  /** Show what has changed: all in one request, but for tasks that left the page. */
  async #refresh() {
    const { tasks } = await call("GET", this.#query());
    const found = new Map(tasks.map((task) => [task.task_id, task]));
    if ("newest" in this.table.dataset) tellNews(this.#newCount(tasks));
    for (const row of this.#unfinished) {
      const task = found.get(row.id) ?? (await taskOf(row.id));
      if (task) row.show(task);
      else row.forget();
    }
  }

  #query() {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of [...query]) if (!value) query.delete(name);
    query.set("limit", this.table.dataset.limit);
    return `/v3/task/?${query}`;
  }

  /** Return how many tasks are before the first one that is shown. */
  #newCount(tasks) {
    const at = tasks.findIndex((task) => this.rows.has(task.task_id));
    return at < 0 ? tasks.length : at;
  }
}

/** Return a task; null: it is not kept any more. */
async function taskOf(id) {
  try {
    return await call("GET", `/v3/task/${id}`);
  } catch (refused) {
    if (refused.status === 404) return null;
    throw refused;
  }
}

function tellNews(count) {
  const news = $(".news");
  if (count && news.hidden) say(t("There are newer tasks"));
  news.hidden = count === 0;
  $("a", news).textContent = t("Show {count} new", { count });
}

/** Say that something is not as it should be; "": it is again. */
function tellAway(text) {
  const notice = $(".away");
  if (notice.textContent === text) return;
  notice.hidden = text === "";
  notice.textContent = text;
  say(text || t("The service answers again."));
}

const table = $("table.tasks");
if (table) new Page(table).start();
