/*
 * A message as receipts come in: asks the API how far it got, every two seconds at
 * first, as long as more may come; less often when nothing does, when there is much to
 * show, or when the service does not answer. Not while nobody looks.
 */

import { again } from "./again.js";
import { call, Refused } from "./api.js";
import { attemptList, counts, receiverRow, stateWords } from "./delivery.js";
import { h, $, moment, say } from "./dom.js";
import { t } from "./words.js";

const EVERY_MS = 2000;
const SELDOM_MS = 15_000;
// So often without news, and it is asked seldom.
const PATIENCE = 60;
const MANY = 500;

const live = $("#following");
const following = live ? JSON.parse(live.textContent) : null;
let shown = "";
let unchanged = 0;
let failed = 0;

if (following) again(ask);

/** Ask how far it got; return when to ask again. */
async function ask() {
  try {
    const message = await call("GET", following.href);
    failed = 0;
    $("#away").hidden = true;
    show(message);
    return isOver(message) ? null : pause(message);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 404) return null; // forgotten meanwhile
    failed += 1;
    $("#away").hidden = false;
    return Math.min(SELDOM_MS, EVERY_MS * 2 ** failed);
  }
}

function pause(message) {
  const isSlow = unchanged > PATIENCE || message.receivers.length > MANY;
  return isSlow ? SELDOM_MS : EVERY_MS;
}

/** Return whether nothing more can be told of a message. */
function isOver(message) {
  const isEnded = ({ state }) => following.ends.includes(state);
  const isSent = message.finished !== undefined;
  return isSent && (!following.reports || message.receivers.every(isEnded));
}

function show(message) {
  const text = JSON.stringify(message);
  unchanged = text === shown ? unchanged + 1 : 0;
  if (text === shown) return;
  const isNews = shown !== "";
  shown = text;
  const { receivers, events } = message;
  $("#counts").replaceChildren(...counts(receivers));
  $("#provider").textContent = message.provider;
  const first = receivers.slice(0, following.shown);
  const rows = first.map((each) => receiverRow(each, following.digest));
  $("#receivers").replaceChildren(...rows);
  $("#events").replaceChildren(...events.map(eventItem));
  $("#attempts").replaceChildren(...attempts(message));
  $("#finished").replaceChildren(moment(message.finished));
  if (isNews) say(summary(receivers));
}

function summary(receivers) {
  const states = [...new Set(receivers.map(({ state }) => state))];
  const number = (state) => receivers.filter((each) => each.state === state).length;
  return states.map((state) => `${number(state)} ${stateWords(state)}`).join(", ");
}

function attempts({ attempts: found }) {
  if (!found?.length) return [];
  return [h("h2", {}, t("What providers have said that refused:")), attemptList(found)];
}

function eventItem(event) {
  const { provider, receiver, state, detail } = event;
  const isForgotten = receiver?.startsWith(following.digest);
  const isCount = event.event === "answered";
  const facts = [
    isForgotten ? t("forgotten") : receiver,
    provider,
    isCount && `${detail} ${stateWords(state)}`,
    !isCount && state && stateWords(state),
    !isCount && detail && stateWords(detail),
  ].filter(Boolean);
  return h(
    "li",
    {},
    moment(event.time),
    " ",
    h("strong", {}, eventWords(event.event)),
    ...facts.flatMap((fact) => [" ", h("bdi", {}, fact)]),
  );
}

function eventWords(name) {
  const words = {
    stored: t("written down"),
    asked: t("the next provider is asked"),
    answered: t("the provider has answered"),
    receipt: t("a receipt has come"),
    queried: t("the provider was asked what became of it"),
    lost: t("the worker that sent it died"),
    finished: t("nothing more is sent"),
  };
  return words[name] ?? name;
}
