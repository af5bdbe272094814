/*
 * How far a message got, as elements: states, receivers, what providers have said. The
 * words of providers, their ids and numbers are anybody's: always text.
 */

import { h } from "./dom.js";
import { t } from "./words.js";

const TONES = {
  queued: "busy",
  sent: "busy",
  unknown: "warn",
  delivered: "good",
  undelivered: "bad",
  expired: "bad",
  rejected: "bad",
  send: "good",
  partial: "warn",
  failed: "bad",
};

/** Return a state as a badge. */
export function badge(state) {
  return toned(state, stateWords(state));
}

/** Return how many receivers are in which state, as badges. */
export function counts(receivers) {
  const numbers = new Map();
  for (const { state } of receivers) numbers.set(state, (numbers.get(state) ?? 0) + 1);
  return [...numbers].map(([state, number]) =>
    toned(state, `${number} ${stateWords(state)}`),
  );
}

/** Return the row of a receiver. */
export function receiverRow(receiver, digest = "hmac-sha256:") {
  const isForgotten = receiver.receiver.startsWith(digest);
  const number = isForgotten ? t("forgotten") : receiver.receiver;
  return h(
    "tr",
    {},
    h("th", { scope: "row", "data-label": t("Receiver"), class: "mono" }, number),
    h("td", { "data-label": t("State") }, badge(receiver.state)),
    h("td", { "data-label": t("Provider") }, receiver.provider ?? "–"),
    h("td", { "data-label": t("Id there"), class: "mono" }, receiver.provider_id ?? "–"),
    h("td", { "data-label": t("Parts") }, String(receiver.segments ?? "–")),
    h("td", { "data-label": t("What was said") }, h("div", {}, ...said(receiver))),
  );
}

/** Return what providers have said that refused. */
export function attemptList(attempts) {
  const items = attempts.map((each) =>
    h("li", {}, h("strong", {}, each.provider), " ", ...said(each)),
  );
  return h("ul", { class: "attempts" }, ...items);
}

/** Return what is said of a refusal: its kind, the provider's code, its own words. */
function said({ category, provider_code: code, provider_message: words }) {
  if (!category && !code && !words) return ["–"];
  return [
    categoryWords(category),
    code ? h("code", {}, code) : "",
    words ? h("bdi", {}, words) : "",
  ].flatMap((part) => (part ? [part, " "] : []));
}

/** Return a state, or what became of a message as a whole, in words. */
export function stateWords(state) {
  const words = {
    queued: t("queued"),
    sent: t("sent"),
    unknown: t("unknown"),
    delivered: t("delivered"),
    undelivered: t("undelivered"),
    expired: t("expired"),
    rejected: t("rejected"),
    send: t("accepted"),
    partial: t("in part"),
    failed: t("failed"),
  };
  return words[state] ?? state;
}

function toned(state, words) {
  return h("span", { class: "badge", "data-state": TONES[state] }, words);
}

function categoryWords(category) {
  const words = {
    auth: t("our keys:"),
    account: t("our account:"),
    sender: t("our signature:"),
    rate_limited: t("too many at a time:"),
    recipient: t("the number:"),
    compliance: t("the content, or the receiver has opted out:"),
    request: t("the form of the request:"),
    unknown: t("something else:"),
  };
  return words[category] ?? "";
}
