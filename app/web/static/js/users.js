/*
 * The users: added, changed and removed in dialogs, by admins; the list follows.
 */

import { call } from "./api.js";
import { $, newRow, say } from "./dom.js";
import { acts, confirmed, drop, open, submits } from "./sheet.js";
import { t } from "./words.js";

const list = $("#users");
const sheet = $("#user");
const form = $("form", sheet);
const removal = $("#removal");
// The row of the user that is being changed; null: somebody new.
let row = null;

$("#add").addEventListener("click", add);
acts(list, { change, remove });
submits(form, save);

function add() {
  row = null;
  begin(t("Add a user"));
}

function change(which) {
  row = which;
  const { username, fullname, admin } = row.dataset;
  begin(t("Change {name}", { name: username }));
  form.elements.username.value = username;
  form.elements.fullname.value = fullname;
  form.elements.admin.checked = admin === "true";
}

/** Open the form; of somebody new the password is needed, of others a new one taken. */
function begin(title) {
  open(sheet);
  $("h2", sheet).textContent = title;
  form.elements.password.required = row === null;
  $("[data-known]", form).hidden = row === null;
}

async function save() {
  const user = row ? changes() : wish();
  const path = row ? pathOf(row) : "/v3/users/";
  const found = await call(row ? "PATCH" : "POST", path, user);
  if (row?.dataset.me) return location.reload(); // who may be out now
  fill(row ?? list.appendChild(newRow()), found);
  sheet.close();
  say(row ? t("{username} was changed.", found) : t("{username} was added.", found));
}

function wish() {
  const { username, fullname, password, admin } = form.elements;
  return {
    username: username.value,
    fullname: fullname.value,
    password: password.value,
    admin: admin.checked,
  };
}

/** Return what is another than it was: nothing else is sent. */
function changes() {
  const { password, ...wanted } = wish();
  const before = { ...row.dataset, admin: row.dataset.admin === "true" };
  const isOther = ([name, value]) => value !== before[name];
  const found = Object.fromEntries(Object.entries(wanted).filter(isOther));
  return password ? { ...found, password } : found;
}

async function remove(which) {
  const name = which.dataset.username;
  const question = t("Remove the user {name}, who is out at once?", { name });
  const act = () => call("DELETE", pathOf(which));
  if (!(await confirmed(removal, question, act))) return;
  if (which.dataset.me) return location.reload();
  drop(which, $("#add"));
  say(t("{name} was removed.", { name }));
}

function pathOf({ dataset }) {
  return `/v3/users/${encodeURIComponent(dataset.username)}`;
}

function fill(which, user) {
  const { username, fullname, admin } = user;
  Object.assign(which.dataset, { username, fullname, admin });
  for (const cell of which.querySelectorAll("[data-cell=username]"))
    cell.textContent = username;
  const link = $("a", which);
  link.href = link.dataset.base + encodeURIComponent(username);
  $("[data-cell=fullname]", which).textContent = fullname;
  $("[data-cell=admin]", which).hidden = !admin;
}
