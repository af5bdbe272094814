/*
 * A user's credentials: a token or a signing key is made, and shown once; a token is
 * ended. Only admins have this module: others are asked for their password, by curl.
 */

import { call } from "./api.js";
import { $, moment, newRow, say } from "./dom.js";
import { acts, confirmed, drop, submits } from "./sheet.js";
import { t } from "./words.js";

const { path } = $("#credentials").dataset;
const tokens = $("#tokens");
const form = $("#make-token");
const removal = $("#removal");
const secret = $("#secret");

acts(tokens, { revoke });
submits(form, makeToken, scopeFaults);
$("#make-key").addEventListener("click", makeKey);
$("[data-copy]", secret).addEventListener("click", copy);
secret.addEventListener("close", forget);

function scopeFaults() {
  const chosen = form.querySelector("[name=scopes]:checked");
  return chosen ? [] : [["scopes", t("Choose one at least")]];
}

async function makeToken() {
  const { description, lifetime } = form.elements;
  const chosen = [...form.querySelectorAll("[name=scopes]:checked")];
  const scopes = chosen.map((each) => each.value);
  const wish = { scopes, description: description.value };
  if (Number(lifetime.value)) wish.expires_seconds = Number(lifetime.value);
  const made = await call("POST", `${path}/tokens`, wish);
  form.reset();
  append(made);
  reveal(t("The new token"), made.token, "token");
}

function append({ id, scopes, description, created, expires }) {
  const row = newRow();
  Object.assign(row.dataset, { token: id, description });
  for (const cell of description ? row.querySelectorAll("[data-cell=description]") : [])
    cell.textContent = description;
  $("[data-cell=scopes]", row).textContent = scopes.join(", ");
  $("[data-cell=created]", row).replaceChildren(moment(created));
  if (expires) $("[data-cell=expires]", row).replaceChildren(moment(expires));
  tokens.append(row);
  showList();
}

function showList() {
  const isEmpty = tokens.rows.length === 0;
  tokens.closest("table").hidden = isEmpty;
  $("#no-tokens").hidden = !isEmpty;
}

async function makeKey() {
  const question = t(
    "Make a new signing key? The one before is worth nothing from then on.",
  );
  let key;
  const act = async () => {
    ({ signing_key: key } = await call("POST", `${path}/signing-key`));
  };
  if (!(await confirmed(removal, question, act))) return;
  $("[data-key]", secret).textContent = key;
  reveal(t("The new signing key"), key, "key");
}

async function revoke(row) {
  const { token, description } = row.dataset;
  const name = description || token.slice(0, 8);
  const question = t("End the token {name}? Whoever uses it is out at once.", { name });
  const act = () => call("DELETE", `${path}/tokens/${token}`);
  if (!(await confirmed(removal, question, act))) return;
  drop(row, form.elements.description);
  showList();
  say(t("The token was ended."));
}

/** Show what is never shown again. */
function reveal(title, text, kind) {
  $("h2", secret).textContent = title;
  $("[data-secret]", secret).value = text;
  for (const each of secret.querySelectorAll("[data-kind]"))
    each.hidden = each.dataset.kind !== kind;
  secret.showModal();
  $("[data-secret]", secret).select();
}

/** What was shown once is nowhere any more. */
function forget() {
  $("[data-secret]", secret).value = "";
  $("[data-key]", secret).textContent = "";
  $("[data-copied]", secret).textContent = "";
}

/** Copy it; over plain HTTP a browser lets only what is selected be copied. */
async function copy() {
  const shown = $("[data-secret]", secret);
  shown.select();
  const isCopied = navigator.clipboard
    ? await navigator.clipboard.writeText(shown.value).then(() => true, () => false)
    : document.execCommand("copy");
  const words = isCopied ? t("Copied.") : t("It is selected: copy it with the keyboard.");
  $("[data-copied]", secret).textContent = words;
}
