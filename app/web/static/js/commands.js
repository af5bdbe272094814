/*
 * The catalogue: shows the commands whose name or description has what is looked for,
 * and the form of a shell's command where there is one.
 */
import "./command.js";
import { $ } from "./dom.js";
import { t } from "./words.js";

const search = $("#search");

function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const cards = [...document.querySelectorAll(".command")];
  for (const card of cards) {
    const text = $(".says", card).textContent.toLowerCase();
    card.hidden = !wanted.every((word) => text.includes(word));
  }
  const count = cards.filter((card) => !card.hidden).length;
  $("#found").textContent = t("{count} of {total}", { count, total: cards.length });
}

if (search) {
  search.addEventListener("input", filter);
  if (search.value) filter(); // the browser has kept it
}
