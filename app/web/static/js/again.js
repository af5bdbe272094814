/* What a page asks again and again, for as long as somebody can see it. */

/**
 * Ask, and again as many milliseconds later as `ask` says; null: no more by itself.
 * Nothing is asked while the page is hidden; at once, when it is seen again.
 * @param {() => Promise<number | null>} ask
 * @param {number} first milliseconds until it is asked first
 */
export function again(ask, first = 0) {
  let timer = setTimeout(turn, first);
  let isAsking = false;

  async function turn() {
    clearTimeout(timer);
    if (isAsking || document.hidden) return;
    isAsking = true;
    try {
      const pause = await ask();
      if (pause !== null) timer = setTimeout(turn, pause);
    } finally {
      isAsking = false;
    }
  }

  document.addEventListener("visibilitychange", turn);
}
