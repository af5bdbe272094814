/* What every page does by itself: times in the reader's zone, questions before what
   cannot be undone, and a menu that closes. */

import { $, showMoment } from "./dom.js";

function showMoments() {
  document.querySelectorAll("time[datetime]").forEach(showMoment);
}

/** Ask first where an element says what. It comes before the page's own listeners. */
function ask(event) {
  const asking = event.target.closest?.("[data-confirm]");
  if (!asking || window.confirm(asking.dataset.confirm)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function closeMenu(event) {
  const menu = $("details.menu[open]");
  if (!menu) return;
  const isEscape = event.key === "Escape";
  if (isEscape) $("summary", menu).focus();
  if (isEscape || (event.type === "click" && !menu.contains(event.target))) {
    menu.open = false;
  }
}

showMoments();
document.addEventListener("click", ask, { capture: true });
document.addEventListener("click", closeMenu);
document.addEventListener("keydown", closeMenu);
$("nav.sections [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
