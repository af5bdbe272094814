/*
 * What a form takes, by JSON Schema: the value that a text stands for, and what is
 * wrong with it. No element of a page is known here. The server looks at everything
 * again; what a browser cannot tell for certain is left to it.
 */
import { t } from "./words.js";

// These mean more to the server than to a browser where a text is not ASCII.
const CLASSES = /\\[wdsbWDSB]/;
const BEYOND_ASCII = /[^\x00-\x7f]/;

/**
 * Return the value of JSON that the text of a control stands for; undefined where it
 * is empty, so that the member is left out. What is no number stays NaN.
 * @param {string} kind of the control: choice, number, or one with a text
 * @param {string} text
 */
export function valueOf(kind, text) {
  if (text === "") return undefined;
  if (kind === "choice") return JSON.parse(text);
  if (kind === "number") return Number(text);
  return text;
}

/**
 * Return what is wrong with a value, in the reader's language; null: nothing that can
 * be seen from here.
 * @param {object} schema of JSON Schema 2020-12
 * @param {string|number|boolean|undefined} value undefined: none was given
 * @param {boolean} isRequired
 * @param {boolean} isArgument of a program, which might take it for an option
 * @returns {string|null}
 */
export function faultOf(schema, value, isRequired = false, isArgument = false) {
  if (value === undefined) return isRequired ? t("Please fill this in") : null;
  if (typeof value === "number") return numberFault(schema, value);
  if (typeof value !== "string") return null;
  return textFault(schema, value) ?? (isArgument ? hyphenFault(schema, value) : null);
}

/**
 * Return an object with a value at each dotted path; what is undefined is left out.
 * @param {Iterable<[string, unknown]>} values
 */
export function bodyOf(values) {
  const body = {};
  for (const [path, value] of values) {
    if (value === undefined) continue;
    const [first, second] = split(path);
    if (second === undefined) body[first] = value;
    else (body[first] ??= {})[second] = value;
  }
  return body;
}

function split(path) {
  const dot = path.indexOf(".");
  return dot < 0 ? [path] : [path.slice(0, dot), path.slice(dot + 1)];
}

function numberFault(schema, value) {
  if (!Number.isFinite(value)) return t("This is not a number");
  if (takesOnlyIntegers(schema) && !Number.isInteger(value))
    return t("This is not a whole number");
  if (Number.isInteger(value) && !Number.isSafeInteger(value))
    return t("This number is too long to be sent exactly");
  return boundsFault(schema, value) ?? stepFault(schema, value);
}

function takesOnlyIntegers(schema) {
  const types = [schema.type].flat();
  return types.includes("integer") && !types.includes("number");
}

function boundsFault(schema, value) {
  if (value < schema.minimum) return t("At least {minimum}", schema);
  if (value <= schema.exclusiveMinimum)
    return t("More than {minimum}", { minimum: schema.exclusiveMinimum });
  if (value > schema.maximum) return t("At most {maximum}", schema);
  if (value >= schema.exclusiveMaximum)
    return t("Less than {maximum}", { maximum: schema.exclusiveMaximum });
  return null;
}

function stepFault({ multipleOf: step }, value) {
  if (step === undefined) return null;
  const times = value / step;
  const isWhole = Math.abs(times - Math.round(times)) < 1e-9 * Math.max(1, times);
  return isWhole ? null : t("A multiple of {step}", { step });
}

function textFault(schema, text) {
  const count = [...text].length; // characters, of which UTF-16 may need two units
  if (count < schema.minLength)
    return t("At least {count} characters", { count: schema.minLength });
  if (count > schema.maxLength)
    return t("At most {count} characters", { count: schema.maxLength });
  if (schema.pattern !== undefined && !mayMatch(schema.pattern, text))
    return t("This does not have the form that it must have: {pattern}", schema);
  return null;
}

/** Return false where a whole text certainly does not match. */
function mayMatch(pattern, text) {
  if (CLASSES.test(pattern) && BEYOND_ASCII.test(text)) return true;
  try {
    return new RegExp(`^(?:${pattern})$`, "u").test(text);
  } catch {
    return true; // Python's alone
  }
}

function hyphenFault(schema, text) {
  const isSaid = "pattern" in schema || "enum" in schema; // what may begin with one
  return text.startsWith("-") && !isSaid ? t("This may not begin with a hyphen") : null;
}
