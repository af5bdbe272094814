/* One run: its state as it changes, its outputs as they come, and its end on demand. */

import { call, Refused } from "./api.js";
import { $, badge, fill, h, moment, say } from "./dom.js";
import { lasting } from "./duration.js";
import { Follower } from "./follow.js";
import { Terminal } from "./terminal.js";
import { stateWord, t } from "./words.js";

const LOOK_SECONDS = 2;
const SLOW_SECONDS = 15; // where the service does not answer, or nobody looks

const live = JSON.parse($("#live").textContent);
const language = document.documentElement.lang;
const title = document.title;
const path = live.task.links.find(({ rel }) => rel === "self").href;
const ahead = Date.now() - Date.parse(live.now); // of the host's clock

let task = live.task;

// The task

function show(now) {
  const changed = now.state !== task.state;
  task = now;
  fill($("[data-part=state]"), badge(task.state));
  document.title = `${stateWord(task.state)}: ${title}`;
  $("#cancel").hidden = Boolean(task.finished);
  if (changed) say(stateWord(task.state));
  showFacts();
  showProgress();
  showOutcome();
  tick();
}

function showFacts() {
  const { usage, output } = task;
  const memory = usage?.max_rss_bytes;
  const notices = task.notifies ?? [task.notify ?? {}];
  const messages = notices.map((notice) => notice.message_id).filter(Boolean);
  const webhooks = notices.map((notice) => notice.webhook).filter(Boolean);
  const facts = {
    position: task.position,
    exit: exit(),
    cpu: usage && lasting(usage.cpu_seconds),
    memory: memory && size(memory),
    leftovers: task.leftovers && t("Processes that it had left were ended."),
    dropped: output.dropped_bytes && size(output.dropped_bytes),
    started: task.started && moment(task.started),
    finished: task.finished && moment(task.finished),
    message: messages.map((id) => h("div", {}, h("a", { href: `/ui/messages/${id}` }, t("Message")))),
    webhook: webhooks.map((webhook) => h("div", {}, told(webhook))),
  };
  for (const [name, value] of Object.entries(facts)) showFact(name, value);
}

function showFact(name, value) {
  const place = $(`[data-fact=${name}]`);
  place.parentElement.hidden = !value || value.length === 0;
  if (!place.parentElement.hidden) fill(place, value);
}

/** Say how far a webhook is, with the last that was wrong. */
function told({ url, state, detail }) {
  const words = { delivered: t("told"), failed: t("given up"), waiting: t("to be told") }[state];
  return [url, words, detail].filter(Boolean).join(" · ");
}

function exit() {
  if (task.signal) return `${task.signal} (${task.returncode})`;
  return task.returncode === undefined ? null : String(task.returncode);
}

function showProgress() {
  const { done, total } = task.progress ?? {};
  $("[data-part=progress]").hidden = !total;
  if (!total) return;
  Object.assign($("[data-part=progress] progress"), { max: total, value: done });
  $("[data-part=share]").textContent = `${done} / ${total}`;
}

/** Say in words why it ended, where that was not by itself. */
function showOutcome() {
  const words = live.reasons[task.reason];
  const place = $("[data-part=outcome]");
  place.hidden = !words;
  if (words) fill(place, words, task.detail ? `: ${task.detail}` : "");
}

function tick() {
  const end = task.finished ? Date.parse(task.finished) : Date.now() - ahead;
  const seconds = (end - Date.parse(task.started)) / 1000;
  $("[data-part=lasted]").textContent = task.started ? lasting(seconds) : "";
}

async function look() {
  let seconds = document.hidden ? SLOW_SECONDS : LOOK_SECONDS;
  try {
    const now = await call("GET", path);
    if (task.finished) return;
    show(now);
    showSizes();
    if (now.finished || now.hosts) await showResult();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    seconds = SLOW_SECONDS; // the output's own connection tells
  }
  if (!task.finished) setTimeout(look, seconds * 1000);
}

async function cancel() {
  const button = $("#cancel");
  button.disabled = true;
  button.textContent = t("Ending…");
  say(t("Ending…"));
  try {
    await call("DELETE", path);
    show(await call("GET", path));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tellFault(error.message || t("The service does not answer."));
  }
  button.disabled = false;
  button.textContent = t("Cancel");
}

function tellFault(text) {
  const place = $("[data-part=fault]");
  place.hidden = false;
  place.textContent = text;
}

/** Take what came of it, or of its parts, from this page, as the service renders it. */
async function showResult() {
  if (!$("#result")) return;
  const page = await (await fetch(location.href)).text();
  const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("#result");
  if (fresh) $("#result").replaceWith(document.adoptNode(fresh));
}

// Its outputs

/** An output: what follows it, and what shows it. */
class Output {
  constructor(panel) {
    const { stream } = panel.dataset;
    this.panel = panel;
    this.stream = stream;
    this.terminal = new Terminal(panel, {
      onFull: () => this.follower.stop(),
      onReady: () => this.isShown && this.follower.start(),
    });
    this.follower = new Follower(path, {
      stream,
      offset: this.#begin(),
      onPart: (text, dropped) => this.#take(text, dropped),
      onState: (state, seconds) => this.#tell(state, seconds),
      onEnd: (ended) => this.#end(ended),
    });
  }

  get isShown() {
    return !this.panel.hidden;
  }

  get facts() {
    return this.stream === "stderr" ? task.stderr : task.output;
  }

  show(on) {
    this.panel.hidden = !on;
    if (on) {
      this.terminal.refresh();
      this.follower.start();
    } else this.follower.stop();
  }

  showSize() {
    const bytes = Math.max(this.facts.end_offset, this.follower.offset);
    $("[data-part=size-of-all]", this.panel).textContent = size(bytes);
    const tab = $(`#tab-${this.stream} [data-part=size]`);
    if (tab) tab.textContent = size(bytes);
  }

  /** Return where to begin: with all of it, unless that is very much. */
  #begin() {
    const { end_offset: end, dropped_bytes: dropped } = this.facts;
    if (end - dropped <= 2 * live.first_bytes) return 0;
    const first = end - live.first_bytes;
    this.terminal.note(
      t("… the first {bytes} bytes are not shown here, but in the download …", {
        bytes: first.toLocaleString(language),
      }),
    );
    return first;
  }

  #take(text, dropped) {
    if (dropped) {
      const bytes = dropped.toLocaleString(language);
      this.terminal.note(t("… {bytes} bytes were dropped here …", { bytes }));
    }
    if (text) this.terminal.append(text);
    this.showSize();
  }

  #tell(state, seconds) {
    const words = {
      lost: t("The connection is lost. It is tried again in {seconds} s.", {
        seconds: Math.ceil(seconds ?? 0),
      }),
      reading: t("The output is read every few seconds."),
      gone: t("The output is not kept any more."),
    };
    const place = $("[data-part=connection]", this.panel);
    const text = words[state] ?? "";
    place.hidden = !text;
    place.textContent = text;
    this.#say(state, text);
  }

  /** Say once that it is lost, and once that it is there again. */
  #say(state, text) {
    const isAway = state === "lost" || state === "gone";
    if (isAway && !this.wasAway) say(text);
    if (state === "live" && this.wasAway) say(t("Connected again; nothing is missing."));
    if (state !== "reading") this.wasAway = isAway;
  }

  async #end(ended) {
    this.terminal.finish();
    const isNew = !task.finished;
    show(ended);
    showSizes();
    if (isNew) await showResult();
  }
}

function showSizes() {
  outputs.forEach((output) => output.showSize());
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const digits = { maximumFractionDigits: power ? 1 : 0 };
  return `${(bytes / 1024 ** power).toLocaleString(language, digits)} ${units[power]}`;
}

// Tabs, where standard error is apart

function choose(tab) {
  for (const output of outputs) {
    const own = $(`#tab-${output.stream}`);
    own.setAttribute("aria-selected", String(own === tab));
    own.tabIndex = own === tab ? 0 : -1;
    output.show(own === tab);
  }
}

/** Show the first output; of a run that wrote to the other one alone, that. */
function chooseFirst() {
  const written = outputs.filter((output) => output.facts.end_offset > 0);
  const only = task.finished && written.length === 1 && $(`#tab-${written[0].stream}`);
  if (only) choose(only);
  else outputs[0]?.show(true);
}

function tabKey(event) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  next.focus();
  choose(next);
}

/** The key / leads to the search of what is shown, but where something is typed. */
function slash(event) {
  const isTyping = event.target.closest("input, textarea, select");
  const field = $(".terminal:not([hidden]) [data-part=search]");
  if (event.key !== "/" || isTyping || !field || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  field.focus();
  field.select();
}

/** The outputs, for who looks at the page from outside. */
export const outputs = [...document.querySelectorAll("[data-stream]")].map((p) => new Output(p));
document.querySelectorAll("[role=tab]").forEach((tab) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", tabKey);
});
document.addEventListener("keydown", slash);
$("#cancel").addEventListener("click", cancel);
show(task);
showSizes();
chooseFirst();
setInterval(() => task.finished || tick(), 1000);
if (!task.finished) setTimeout(look, LOOK_SECONDS * 1000);
