/*
 * A form that the public API answers. What is wrong stands beside the field that it is
 * about, the rest above the buttons; a second click while the first is being answered
 * does nothing. A form may stand in a dialog, which gives the focus back.
 *
 * A field is a `.field` with a `.fault` in it; `data-path` is the member of the body
 * that it asks for.
 */

import { Refused } from "./api.js";
import { h, $ } from "./dom.js";
import { t } from "./words.js";

/**
 * Have `send` send a form that has no faults; what it refuses is shown in the form.
 * @param {HTMLFormElement} form
 * @param {() => Promise<void>} send
 * @param {() => [string, string][]} more faults by path that no control tells of itself
 */
export function submits(form, send, more = () => []) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clear(form);
    const faults = [...ownFaults(form), ...more()];
    if (faults.length) return void show(form, "", faults);
    form.setAttribute("aria-busy", "true");
    try {
      await send();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refuse(form, error);
    } finally {
      form.removeAttribute("aria-busy");
    }
  });
}

/**
 * Show in a form why it was refused.
 * @param {HTMLFormElement} form
 * @param {Refused} refused
 */
export function refuse(form, refused) {
  const errors = refused.problem?.errors ?? [];
  show(form, wordsOf(refused), errors.map((each) => [each.path, each.message]));
}

/** Take all that is said of faults out of a form. */
export function clear(form) {
  for (const fault of form.querySelectorAll(".fault")) fault.replaceChildren();
  for (const control of form.querySelectorAll("[aria-invalid]"))
    control.removeAttribute("aria-invalid");
}

/**
 * Open the dialog of a form, emptied.
 * @param {HTMLDialogElement} dialog
 */
export function open(dialog) {
  const form = $("form", dialog);
  form.reset();
  clear(form);
  dialog.showModal();
}

/**
 * Do what cannot be undone, if that is really wanted; return whether it was done.
 * Where it is refused, the question is asked again, with the reason.
 * @param {HTMLDialogElement} dialog with a form that closes it by the value "yes"
 * @param {string} question
 * @param {() => Promise<unknown>} act
 * @returns {Promise<boolean>}
 */
export async function confirmed(dialog, question, act) {
  $("[data-question]", dialog).textContent = question;
  let refused = null;
  while (await isWanted(dialog, refused)) {
    try {
      await act();
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused = error;
    }
  }
  return false;
}

/**
 * Have the buttons in the rows of a list act, each by its `data-do`, on their row.
 * @param {HTMLTableSectionElement} list
 * @param {Record<string, (row: HTMLTableRowElement) => void>} known
 */
export function acts(list, known) {
  list.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (button) known[button.dataset.do](button.closest("tr"));
  });
}

/**
 * Take a row out of its list; the focus goes to the next one.
 * @param {HTMLTableRowElement} row
 * @param {HTMLElement} otherwise where the focus goes from the last one
 */
export function drop(row, otherwise) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (next?.querySelector("[data-do]") ?? otherwise).focus();
}

document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-close]")) target.closest("dialog").close();
});

/** Return what a refusal means, for whoever reads the page. */
export function wordsOf(refused) {
  const type = refused.problem?.type?.split(":").pop();
  const seconds = refused.response?.headers.get("Retry-After");
  const known = KNOWN[type] ?? BY_STATUS[refused.status];
  const words = known ? known() : t("This was refused.");
  return seconds ? `${words} ${t("Try again in {seconds} s.", { seconds })}` : words;
}

const KNOWN = {
  "invalid-input": () => t("Something is not right yet:"),
  "account-exists": () => t("There is a user of that name already."),
  "account-not-found": () => t("There is no such user any more."),
  "token-not-found": () => t("There is no such token any more."),
  "last-admin": () => t("This is the only admin; make another one first."),
  "not-permitted": () => t("You may not do this."),
  "too-many-attempts": () => t("Too many wrong passwords were given."),
  "password-checks-exceeded": () => t("Too many passwords are being checked."),
  "key-in-flight": () => t("The first request is still being answered."),
  "sms-rejected": () =>
    t("The provider has refused the receivers, the content or the form. Nobody got it."),
  "sms-limit-exceeded": () =>
    t("As many messages were sent as may be. Nothing was sent."),
  "sms-receiver-limited": () =>
    t("The provider lets no more through to this receiver for now. Nobody got it."),
  "sms-failed": () =>
    t("Every provider has refused to send for us. Nothing was sent."),
  "sms-unreachable": () => t("No provider could be reached. Nothing was sent."),
};

const BY_STATUS = {
  0: () => t("The service did not answer. You can try again."),
  403: () => t("You may not do this."),
  404: () => t("It is not there any more."),
  429: () => t("There is too much to do just now. Nothing was done."),
  500: () => t("The service has failed; its log says why."),
  503: () => t("The service cannot take this on now. Nothing was done."),
};

function isWanted(dialog, refused) {
  clear(dialog);
  dialog.returnValue = "";
  dialog.showModal();
  if (refused) refuse($("form", dialog), refused);
  return new Promise((resolve) => {
    const told = () => resolve(dialog.returnValue === "yes");
    dialog.addEventListener("close", told, { once: true });
  });
}

/** Return what the controls of a form tell of themselves. */
function ownFaults(form) {
  const controls = [...form.elements].filter((each) => each.willValidate);
  return controls.flatMap((control) => {
    const fault = faultOf(control);
    return fault ? [[pathOf(control), fault]] : [];
  });
}

function pathOf(control) {
  return control.closest("[data-path]")?.dataset.path ?? control.name;
}

function faultOf(control) {
  const { validity, value, dataset } = control;
  if (validity.valueMissing) return t("Please fill this in");
  if (validity.badInput) return t("This is not a number");
  if (validity.stepMismatch) return t("This is not a whole number");
  if (validity.rangeUnderflow) return t("At least {minimum}", { minimum: control.min });
  if (validity.rangeOverflow) return t("At most {maximum}", { maximum: control.max });
  const least = Number(dataset.least ?? 0);
  if (value && value.length < least)
    return t("At least {count} characters", { count: least });
  const form = dataset.form && new RegExp(`^(?:${dataset.form})$`, "u");
  return value && form && !form.test(value) ? dataset.wrong : "";
}

/** Put faults where they belong; the focus goes to the first. */
function show(form, words, faults) {
  const left = faults.filter(([path, words]) => !mark(form, path, words));
  const rest = left.map((fault) => h("li", {}, fault.filter(Boolean).join(": ")));
  const summary = $(".summary", form);
  summary.replaceChildren(...(words ? [h("p", {}, words)] : []));
  if (rest.length) summary.append(h("ul", {}, ...rest));
  const first = form.querySelector("[aria-invalid]");
  (first ?? summary).focus();
}

/** Say beside its field what is wrong with a member; return whether there is one. */
function mark(form, path, words) {
  const fields = [...form.querySelectorAll(".field[data-path]")];
  const field = fields.find(({ dataset, offsetParent }) => {
    const isAbout = path === dataset.path || path.startsWith(`${dataset.path}.`);
    return isAbout && offsetParent !== null;
  });
  if (!field) return false;
  $(".fault", field).append(h("span", {}, words));
  $("input, select, textarea", field).setAttribute("aria-invalid", "true");
  return true;
}
