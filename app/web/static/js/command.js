/*
 * The form that runs a command: says beside each field what is wrong with it, starts
 * the run by the API, once, and goes to its page.
 */
import { call, OnceKey } from "./api.js";
import { $, fill, h, say } from "./dom.js";
import { bodyOf, faultOf, valueOf } from "./form.js";
import { t } from "./words.js";

/** One field of a form: its control, and the place beside it for what is wrong. */
class Field {
  #told = false; // what is wrong with it: from then on it is looked at while typing

  constructor(root, facts) {
    this.root = root;
    this.path = root.dataset.path;
    this.kind = root.dataset.kind;
    this.facts = facts;
    this.control = $("input, select, textarea", root);
    this.box = $(".fault", root);
    this.control.addEventListener("input", () => this.#told && this.check());
  }

  get value() {
    // An option that is not ticked is not asked for.
    if (this.kind === "boolean") return this.control.checked || (this.facts.argument ? false : undefined);
    if (this.control.validity.badInput) return NaN; // which has no text for us
    return valueOf(this.kind, this.control.value);
  }

  /** What may be shown of its value. */
  get shown() {
    const isHidden = this.control.type === "password" && this.value !== undefined;
    return isHidden ? "…" : this.value;
  }

  /** Look at the value; return whether nothing is wrong with it. */
  check() {
    const { schema, required, argument } = this.facts;
    this.tell(faultOf(schema, this.value, required, argument));
    return this.box.hidden;
  }

  /** Say what is wrong; null: nothing. */
  tell(fault) {
    this.#told = true;
    this.box.hidden = fault === null;
    this.box.textContent = fault ?? "";
    if (fault === null) this.control.removeAttribute("aria-invalid");
    else this.control.setAttribute("aria-invalid", "true");
  }

  focus() {
    this.root.closest("details")?.setAttribute("open", "");
    this.control.focus();
  }
}

/** A form that starts a run. */
class RunForm {
  #isSending = false;
  #key = new OnceKey();

  constructor(form) {
    this.form = form;
    this.notice = $(".refusal", form);
    this.button = $("button[type=submit]", form);
    const facts = JSON.parse($("script[type='application/json']", form).textContent);
    this.fields = [...form.querySelectorAll("[data-path]")].map(
      (root) => new Field(root, facts[root.dataset.path]),
    );
    form.addEventListener("input", () => this.preview());
    form.addEventListener("keydown", (event) => this.#onKey(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.button.disabled = false;
    this.preview();
  }

  /** Send what was filled in, unless something is wrong with it. */
  async submit() {
    if (this.#isSending) return;
    this.#refuse("");
    const faulty = this.fields.filter((field) => !field.check());
    if (faulty.length) this.#pointAt(faulty);
    else await this.#send();
  }

  /** Show the request that the form stands for. */
  preview() {
    const place = $(".request", this.form);
    if (place) place.textContent = curl(this.form.dataset.user, this.#body("shown"));
  }

  #body(which = "value") {
    const { command } = this.form.dataset;
    const named = command === undefined ? [] : [["command", command]];
    return bodyOf([...named, ...this.fields.map((f) => [f.path, f[which]])]);
  }

  async #send() {
    const body = this.#body();
    this.#setSending(true);
    try {
      const headers = { "Idempotency-Key": this.#key.of(body) };
      const task = await call("POST", "/v3/exec/", body, { headers });
      this.#key.forget();
      location.assign(`/ui/tasks/${task.task_id}`);
    } catch (refused) {
      this.#setSending(false);
      this.#tell(refused);
    }
  }

  #setSending(isSending) {
    this.#isSending = isSending;
    this.button.setAttribute("aria-disabled", String(isSending));
    this.button.classList.toggle("busy", isSending);
  }

  /** Say what the server found wrong: beside the fields, the rest at the top. */
  #tell(refused) {
    const faulty = [];
    const others = [];
    for (const { path, message } of refused.problem?.errors ?? []) {
      const field = this.#fieldAt(path);
      if (field) {
        field.tell(message);
        faulty.push(field);
      } else others.push(`${path}: ${message}`);
    }
    if (!faulty.length || others.length) this.#refuse(reasonOf(refused), others);
    if (faulty.length) this.#pointAt(faulty);
    else this.notice.focus();
  }

  #fieldAt(path) {
    const isAt = ({ path: own }) => path === own || path.startsWith(`${own}.`);
    return this.fields.find(isAt);
  }

  #pointAt(faulty) {
    faulty[0].focus();
    say(t("{count} to be put right", { count: faulty.length }));
  }

  #refuse(reason, details = []) {
    this.notice.hidden = !reason;
    fill(this.notice, [reason, ...details].map((text) => h("p", {}, text)));
  }

  #onKey(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  /** Be ready again where the browser has kept the page, and comes back to it. */
  wake() {
    this.#key.forget();
    this.#setSending(false);
  }
}

/** Return why the server did not start it, and what to do now. */
function reasonOf({ status, problem, response }) {
  const seconds = response?.headers.get("Retry-After");
  const again = seconds ? ` ${t("Try again in {seconds} s.", { seconds })}` : "";
  if (status === 0)
    return t("No answer came. It may have been started: run it again, it is started once.");
  if (status === 429)
    return t("As many commands run and wait here as may. Nothing was started.") + again;
  if (status === 503)
    return t("The service cannot take it on now. Nothing was started.") + again;
  const reason = status === 403 ? `${t("You may not run this.")} ` : "";
  return reason + (problem?.detail ?? t("The service has refused it: {status}", { status }));
}

/** Return what sends a body by curl, as a shell reads it. */
function curl(user, body) {
  const url = `${location.origin}/v3/exec/`;
  return [
    `curl -u ${quoted(user)} ${url}`,
    "-H 'Content-Type: application/json'",
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

function quoted(text) {
  return /^[\w.@:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

for (const form of document.querySelectorAll("form.run")) {
  const run = new RunForm(form);
  window.addEventListener("pageshow", (event) => event.persisted && run.wake());
}
