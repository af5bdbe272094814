/*
 * The directory: a person is added, changed and removed in dialogs; the list follows.
 */

import { call } from "./api.js";
import { $, newRow, say } from "./dom.js";
import { acts, confirmed, drop, open, submits } from "./sheet.js";
import { t } from "./words.js";

const list = $("#people");
const sheet = $("#person");
const form = $("form", sheet);
const removal = $("#removal");
// The row of the person that is being changed; null: somebody new.
let row = null;

$("#add").addEventListener("click", add);
acts(list, { change, remove });
submits(form, save);

function add() {
  row = null;
  open(sheet);
  $("h2", sheet).textContent = t("Add a person");
}

function change(which) {
  row = which;
  open(sheet);
  $("h2", sheet).textContent = t("Change {name}", { name: shown("name") });
  for (const name of ["name", "age", "phone"]) form.elements[name].value = shown(name);
}

async function save() {
  const { name, age, phone } = form.elements;
  const person = { name: name.value, age: Number(age.value) };
  if (phone.value) person.phone = phone.value;
  if (row) fill(row, await call("PUT", `/v1/user/${row.dataset.uid}`, person));
  else append({ ...person, ...(await call("POST", "/v1/user", person)) });
  sheet.close();
  say(t("{name} is in the directory.", person));
}

async function remove(which) {
  row = which;
  const name = shown("name");
  const question = t("Remove {name} from the directory?", { name });
  const act = () => call("DELETE", `/v1/user/${which.dataset.uid}`);
  if (!(await confirmed(removal, question, act))) return;
  drop(which, $("#add"));
  showList();
  say(t("{name} was removed.", { name }));
}

function append(person) {
  fill(list.appendChild(newRow()), person);
  showList();
}

function showList() {
  const isEmpty = list.rows.length === 0;
  list.closest("table").hidden = isEmpty;
  $("#nobody").hidden = !isEmpty;
}

/** Write a person into a row; whoever has no phone cannot be written to. */
function fill(which, person) {
  which.dataset.uid = person.uid;
  for (const cell of which.querySelectorAll("[data-cell]"))
    cell.textContent = person[cell.dataset.cell] ?? "";
  const link = $("a[data-write]", which);
  link.hidden = !person.phone;
  link.href = `${link.dataset.write}?to=user:${person.uid}`;
}

function shown(name) {
  return $(`[data-cell=${name}]`, row).textContent;
}
