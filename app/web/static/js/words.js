/* The words that modules say, in the reader's language. The English text is the key;
   the page brings the others in its block #words. */

const words = JSON.parse(document.getElementById("words")?.textContent || "{}");

/**
 * Return an English text in the reader's language, with facts at their {names}.
 * @param {string} text
 * @param {Record<string, unknown>} [facts]
 */
export function t(text, facts = {}) {
  const found = words[text] ?? text;
  return found.replace(/\{(\w+)\}/g, (whole, name) => String(facts[name] ?? whole));
}

/**
 * Return the word for a task's state.
 * @param {string} state
 */
export function stateWord(state) {
  const known = {
    QUEUED: t("Queued"),
    STARTED: t("Running"),
    SUCCESS: t("Succeeded"),
    FAILURE: t("Failed"),
    REVOKED: t("Cancelled"),
    LOST: t("Lost"),
  };
  return known[state] ?? state;
}
