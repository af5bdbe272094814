/* Elements of a page: found, made, and told to whoever listens. What is shown is always
   text, whatever it contains. */

import { stateWord } from "./words.js";

/**
 * Return the first element that a selector finds.
 * @param {string} selector
 * @param {ParentNode} [root]
 */
export function $(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * Return a new element. `on…` are listeners, true is an attribute without a value, and
 * null, undefined and false are none. Children that are no nodes are text.
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...unknown} children
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...shown(children));
  return element;
}

/**
 * Put children in the place of those that an element has.
 * @param {Element} element
 * @param {...unknown} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...shown(children));
}

/** Return a new row of the page's list, as its template has it. */
export function newRow() {
  return $("#row").content.firstElementChild.cloneNode(true);
}

/**
 * Say a text to screen readers, without moving the focus.
 * @param {string} text
 */
export function say(text) {
  $("#said").textContent = text;
}

/**
 * Return a task's state as pages show it.
 * @param {string} state
 */
export function badge(state) {
  return h("span", { class: "badge", "data-state": state }, stateWord(state));
}

/**
 * Return a moment of the API, in the reader's time zone.
 * @param {string | null | undefined} rfc3339
 */
export function moment(rfc3339) {
  if (!rfc3339) return document.createTextNode("–");
  const element = h("time", { datetime: rfc3339 });
  showMoment(element);
  return element;
}

/**
 * Show the moment of a <time> in the reader's time zone; its title says all of it.
 * @param {HTMLTimeElement} element
 */
export function showMoment(element) {
  const when = new Date(element.dateTime);
  if (Number.isNaN(when.getTime())) return;
  const language = document.documentElement.lang;
  const isToday = when.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { year: "numeric", month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  element.textContent = when.toLocaleString(language, { ...day, ...time });
  element.title = when.toLocaleString(language, { dateStyle: "full", timeStyle: "long" });
}

function shown(children) {
  const given = children.flat(Infinity).filter((child) => child || child === 0);
  return given.map((child) => (child instanceof Node ? child : String(child)));
}
