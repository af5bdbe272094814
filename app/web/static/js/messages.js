/*
 * The form that sends a message: fields by template, a preview as it is written, faults
 * beside the fields, and what became of it at each receiver. What was filled in is sent
 * once, however often it is sent: it has a key of its own until something is changed.
 */

import { call, OnceKey, Refused } from "./api.js";
import { attemptList, badge, counts, receiverRow } from "./delivery.js";
import { h, $, moment, newRow, say } from "./dom.js";
import { faultOf, valueOf } from "./form.js";
import { submits, wordsOf } from "./sheet.js";
import { t } from "./words.js";

const PREVIEW_AFTER_MS = 300;
// Whoever sends to more does not wait for the providers: a task sends it.
const WAITED_FOR = 10;
const NUMBER = /^\+[1-9][0-9 ()-]{1,39}$/;
const PERSON = /^user:[0-9]{1,9}$/;

const form = $("#write");
const outcome = $("#outcome");
const preview = $("#preview");
const once = new OnceKey();
let done; // the key of what was sent last
let timer;
let asking;

if (form) start();

function start() {
  form.elements.template.addEventListener("change", choose);
  form.addEventListener("input", later);
  $("#add-person")?.addEventListener("click", addPerson);
  submits(form, send, faults);
  choose();
  count();
  $("button[type=submit]", form).disabled = false;
}

/** Show the fields of the template that was chosen, and no others. */
function choose() {
  for (const fields of form.querySelectorAll("[data-template]")) {
    fields.disabled = fields.dataset.template !== form.elements.template.value;
    fields.hidden = fields.disabled;
  }
  look();
}

function later() {
  count();
  clearTimeout(timer);
  timer = setTimeout(look, PREVIEW_AFTER_MS);
}

/** Show what would be sent, and in how many parts, once that can be told. */
async function look() {
  asking?.abort();
  if (!chosen().hasAttribute("data-has-text"))
    return showPreview("", t("The provider has the text of this template."));
  if (!isFilledIn()) return showPreview("", t("Fill in the fields to see the text."));
  asking = new AbortController();
  const { template, params } = body();
  try {
    const { signal } = asking;
    const asked = { template, params };
    const found = await call("POST", "/v3/sms/preview", asked, { signal });
    showPreview(found.text, partsWords(found));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    showPreview("", t("There is no preview just now."));
  }
}

function chosen() {
  return $("[data-template]:enabled", form);
}

function isFilledIn() {
  const isMissing = ({ validity }) => validity.valueMissing || validity.badInput;
  return paramFaults().length === 0 && !controls().some(isMissing);
}

function showPreview(text, words) {
  $("[data-text]", preview).textContent = text;
  $("[data-text]", preview).hidden = text === "";
  $("[data-parts]", preview).textContent = words;
}

function partsWords({ encoding, segments, text }) {
  const characters = [...text].length;
  const facts = { characters, encoding, segments };
  if (segments === 1) return t("{characters} characters, {encoding}: one part", facts);
  return t("{characters} characters, {encoding}: {segments} parts", facts);
}

function body() {
  const { template, receivers, provider, validity_seconds: validity } = form.elements;
  const wish = { receivers: split(receivers.value), template: template.value };
  const params = values();
  if (Object.keys(params).length) wish.params = params;
  if (provider.value) wish.provider = provider.value;
  if (validity.value) wish.validity_seconds = Number(validity.value);
  return wish;
}

function controls() {
  return [...form.querySelectorAll("[data-schema]:enabled")];
}

function values() {
  const found = controls().map((each) => [each.name, given(each)]);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

function given({ dataset, value }) {
  return valueOf(dataset.kind, value);
}

/** Return what is wrong with parameters and receivers, as far as a browser can tell. */
function faults() {
  return [...paramFaults(), ...receiverFaults()];
}

function paramFaults() {
  return controls().flatMap((each) => {
    if (each.validity.valueMissing) return []; // which every control tells of itself
    const fault = faultOf(JSON.parse(each.dataset.schema), given(each));
    return fault ? [[`params.${each.name}`, fault]] : [];
  });
}

function receiverFaults() {
  const wrong = split(form.elements.receivers.value).filter(
    (each) => !NUMBER.test(each) && !PERSON.test(each),
  );
  return wrong.map((receiver) => [
    "receivers",
    t("{receiver} is no number with a plus and a country code", { receiver }),
  ]);
}

function split(text) {
  return text.split(/[\n,;]/).map((each) => each.trim()).filter(Boolean);
}

function count() {
  const { size } = new Set(split(form.elements.receivers.value));
  const words = size > 1 ? t("{count} receivers", { count: size }) : "";
  $("#receiver-count").textContent = words;
}

function addPerson() {
  const { receivers, person } = form.elements;
  const all = new Set([...split(receivers.value), person.value]);
  receivers.value = [...all].join("\n");
  receivers.dispatchEvent(new Event("input", { bubbles: true }));
  receivers.focus();
}

async function send() {
  const wish = body();
  const key = once.of(wish);
  const headers = { "Idempotency-Key": key };
  if (wish.receivers.length > WAITED_FOR) headers.Prefer = "respond-async";
  const wasDone = key === done;
  outcome.hidden = true;
  try {
    const answer = await call("POST", "/v3/sms/", wish, { headers });
    done = key;
    showOutcome(answer, wasDone);
    if (!wasDone) addToList(answer, wish);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (isCertainlyNotSent(error)) once.forget();
    if (!error.problem?.receivers) throw error;
    showRefusal(error);
    addToList(error.problem, wish);
  }
}

/** Return whether the same may come again as something new. */
function isCertainlyNotSent({ problem, status }) {
  return status !== 409 && Boolean(problem?.type?.startsWith("urn:bellhop:"));
}

function showOutcome(answer, wasDone) {
  const words = outcomeWords(answer.message);
  const again = wasDone ? t("It was sent before, and was not sent again.") : "";
  reveal(answer, [words, again].filter(Boolean).join(" "));
}

function showRefusal({ problem, ...refused }) {
  reveal(problem, wordsOf({ problem, ...refused }));
}

function reveal(message, words) {
  const receivers = message.receivers ?? [];
  $("[data-words]", outcome).textContent = words;
  $("[data-counts]", outcome).replaceChildren(...counts(receivers));
  $("[data-attempts]", outcome).replaceChildren(...attempts(message));
  $("tbody", outcome).replaceChildren(...receivers.map((each) => receiverRow(each)));
  $("table", outcome).hidden = receivers.length === 0;
  $("[data-message]", outcome).href = hrefOf(message.id);
  outcome.hidden = false;
  $("h2", outcome).focus();
  say(words);
}

/** Show the message above those that were sent before it. */
function addToList({ id, message, provider = "–", receivers }, wish) {
  const queued = wish.receivers.map(() => ({ state: "queued" }));
  const row = newRow();
  const cell = (name) => $(`[data-cell=${name}]`, row);
  cell("created").href = hrefOf(id);
  cell("created").append(moment(new Date().toISOString()));
  cell("template").textContent = wish.template;
  cell("outcome").append(badge(receivers ? message : "queued"));
  cell("receivers").append(...counts(receivers ?? queued));
  cell("provider").textContent = provider;
  $("#messages").prepend(row);
  $("#messages").closest("table").hidden = false;
  $("#no-messages").hidden = true;
}

function hrefOf(id) {
  return `${location.pathname}${encodeURIComponent(id)}`;
}

function attempts({ attempts: found }) {
  if (!found?.length) return [];
  return [h("p", {}, t("What providers have said that refused:")), attemptList(found)];
}

function outcomeWords(word) {
  const words = {
    send: t("A provider has accepted it for all receivers."),
    partial: t("A provider has accepted it for some; the others were rejected."),
    unknown: t(
      "A provider may have sent it, or not: it did not answer clearly. It is never sent again; a delivery receipt settles it.",
    ),
    accepted: t("It is being sent; its page shows how far it gets."),
  };
  return words[word] ?? word;
}
