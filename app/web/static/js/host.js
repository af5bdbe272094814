/* The host's page goes on: once a second it asks for the samples since the last one,
   and shows them. Nothing is asked while nobody can see it; what was missed comes when
   somebody can. */

import { again } from "./again.js";
import { call } from "./api.js";
import { Chart } from "./chart.js";
import { $, fill, h, newRow, say } from "./dom.js";
import { lasting } from "./duration.js";
import { t } from "./words.js";

const SECOND = 1000;
const WINDOWS = [60, 120, 300, 600].map((seconds) => seconds * SECOND);
const LONGEST_WAIT = 5 * SECOND; // between tries, when the service cannot be reached
const ANSWER_WITHIN = 10 * SECOND;
const STALLED = 10; // answers without a sample, after which all are asked for again
const KB = 1024; // iostat's units

const page = $("#host");
const live = $("#live");
const select = $("#disk");
const byRate = (most) =>
  [["GB/s", KB * KB], ["MB/s", KB]].map(([name, per]) => ({ name, per, digits: 2 }))
    .find(({ per }) => most >= per) ?? { name: "kB/s", per: 1, digits: 1 };
const disk = (figure) => ({ devices }) => devices.get(select.value)?.[figure] ?? null;

const charts = {
  load: chart("load", {
    title: t("Load"), least: 1, unit: () => ({ name: "", per: 1, digits: 2 }),
    series: [
      { name: t("1 minute"), of: ({ load }) => load[0] },
      { name: t("5 minutes"), of: ({ load }) => load[1] },
      { name: t("15 minutes"), of: ({ load }) => load[2] },
    ],
  }),
  throughput: chart("throughput", {
    title: t("Disk throughput"), least: 100, unit: byRate,
    series: [
      { name: t("Written"), of: disk("kB_wrtn_per_s") },
      { name: t("Read"), of: disk("kB_read_per_s") },
    ],
  }),
  busy: chart("busy", {
    title: t("Disk busy"), least: 100, fixed: true,
    unit: () => ({ name: "%", per: 1, digits: 1 }),
    series: [{ name: t("Busy"), of: disk("util_percent") }],
  }),
  wait: chart("wait", {
    title: t("Waiting for the disk"), least: 5,
    unit: () => ({ name: "ms", per: 1, digits: 1 }),
    series: [
      { name: t("to write"), of: disk("w_await_ms") },
      { name: t("to read"), of: disk("r_await_ms") },
    ],
  }),
};

let samples = []; // {at, time, load, uptime_seconds, users, devices: name → figures}
let moment = null; // what is looked at in all charts; null: now
let isChosen = false; // whether the reader has chosen the disk
let failures = 0;
let newest = null; // the time of the last sample
let empty = 0; // answers since then

function chart(name, facts) {
  return new Chart($(`[data-chart=${name}]`), { ...facts, onMoment: look });
}

/** Ask for what is new; return when to ask again: in a second, or later where it fails. */
async function ask() {
  try {
    take(await call("GET", source(), undefined, { signal: AbortSignal.timeout(ANSWER_WITHIN) }));
  } catch (error) {
    if (error.status >= 400 && error.status < 500 && error.status !== 429) {
      tell(error.message, "bad");
      return null;
    }
    failures += 1;
    tell(t("Connection lost, trying again …"), "bad");
    return Math.min(LONGEST_WAIT, SECOND * 2 ** (failures - 1));
  }
  failures = 0;
  tell(empty < STALLED / 2 ? t("Live") : t("No new figures"), empty < STALLED / 2 ? "good" : "warn");
  return SECOND;
}

function source() {
  const last = samples.at(-1);
  return last ? `${page.dataset.source}?${new URLSearchParams({ since: last.time })}` : page.dataset.source;
}

/** Say how it is going, and aloud where that has changed. */
function tell(text, state) {
  if (live.textContent === text) return;
  const isFirst = live.hidden;
  live.hidden = false;
  live.textContent = text;
  live.dataset.state = state;
  if (!isFirst || state !== "good") say(text);
}

/** Add what has come. A clock that was set back leaves no sample of later than now. */
function take({ samples: found }) {
  const last = found.at(-1)?.time ?? newest;
  empty = last === newest ? empty + 1 : 0;
  newest = last;
  if (empty && empty % STALLED === 0) samples = [];
  if (!found.length) return;
  const added = found.map(prepared);
  const { at } = added.at(-1);
  samples = [...samples.filter((each) => each.at < added[0].at), ...added];
  samples = samples.filter((each) => each.at > at - WINDOWS.at(-1));
  show();
}

function prepared(sample) {
  const devices = new Map(sample.devices.map((figures) => [figures.device, figures]));
  return { ...sample, at: Date.parse(sample.time), devices };
}

function show() {
  const { moved, resting } = disks();
  offer(moved);
  draw();
  showFacts(moved);
  showTable(moved);
  $("#resting").hidden = resting.length === 0;
  put($("#resting p"), resting.join(", "));
}

/** Draw as much time as is known of, so that a service that is new has no void. */
function draw() {
  if (!samples.length) return;
  const to = samples.at(-1).at;
  const known = to - samples[0].at;
  const window = WINDOWS.find((each) => each >= known) ?? WINDOWS.at(-1);
  for (const each of Object.values(charts)) {
    each.draw(samples, { from: to - window, to, at: moment });
  }
}

function look(at) {
  if (at === moment) return;
  moment = at;
  draw();
}

/** Return which disks have moved in all that time, the busiest first, and which not. */
function disks() {
  const moves = new Map();
  for (const { devices } of samples) {
    for (const [name, each] of devices) {
      const now = each.kB_read_per_s + each.kB_wrtn_per_s + each.tps + each.util_percent;
      moves.set(name, (moves.get(name) ?? 0) + now);
    }
  }
  const names = [...moves.keys()].sort((a, b) => moves.get(b) - moves.get(a));
  const isMoved = (name) => moves.get(name) > 0;
  return { moved: names.filter(isMoved), resting: names.filter((n) => !isMoved(n)).sort() };
}

/** Offer the disks that have moved; until one is chosen, the busiest is shown. */
function offer(moved) {
  const names = [...moved].sort();
  const offered = [...select.options].map((option) => option.value);
  if (names.join("\n") !== offered.join("\n")) {
    const { value } = select;
    fill(select, names.map((name) => h("option", { value: name }, name)));
    isChosen = isChosen && names.includes(value);
    select.value = isChosen ? value : moved[0] ?? "";
  }
  select.parentElement.hidden = names.length < 2;
  $("#only-disk").hidden = names.length > 1;
  for (const each of document.querySelectorAll("[data-disk]")) put(each, select.value);
}

function showFacts(moved) {
  const last = samples.at(-1);
  put(fact("up"), lasting(last.uptime_seconds));
  put(fact("load"), last.load[0].toFixed(2));
  put(fact("users"), last.users === null ? "–" : String(last.users));
  const busy = (name) => last.devices.get(name)?.util_percent ?? 0;
  const busiest = moved.reduce((a, b) => (busy(b) > busy(a) ? b : a), moved[0]);
  if (busiest === undefined) return;
  put(fact("disk"), `${busy(busiest).toFixed(0)} %`);
  put(fact("disk-name"), busiest);
}

/** Keep the rows, and change the figures in them: who reads them is not thrown out. */
function showTable(moved) {
  const { devices } = samples.at(-1);
  const body = $("#figures tbody");
  const rows = new Map([...body.rows].map((row) => [row.dataset.device, row]));
  for (const name of [...moved].sort()) {
    const row = rows.get(name) ?? body.appendChild(rowOf(name));
    rows.delete(name);
    for (const cell of row.querySelectorAll("td")) {
      put(cell, (devices.get(name)?.[cell.dataset.figure] ?? 0).toFixed(1));
    }
  }
  rows.forEach((row) => row.remove());
  $("#figures").hidden = moved.length === 0;
  $("#still").hidden = moved.length > 0;
  if (!moved.length) put($("#still"), t("No disk has moved in the last ten minutes."));
}

function rowOf(name) {
  const row = newRow();
  row.dataset.device = name;
  $("th", row).textContent = name;
  return row;
}

function fact(name) {
  return $(`[data-fact=${name}]`);
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

select.addEventListener("change", () => {
  isChosen = true;
  show();
});
new ResizeObserver(draw).observe(page);
again(ask);
