/* Colours and styles that a command asks for (SGR), made readable on our paper.

   A style is a plain object that is never changed, null for the usual one. A colour is
   0 to 15, which the style sheet knows by name, or [red, green, blue]. */

/** The style of what is written in the place of a character that cannot be seen. */
export const CONTROL = { control: true };

/** The 16 by number, as they are where something else is drawn on them. */
const PALETTE = [
  [0, 0, 0], [187, 36, 36], [24, 121, 48], [146, 95, 0],
  [31, 86, 200], [153, 43, 153], [10, 115, 130], [200, 200, 200],
  [90, 90, 90], [240, 100, 100], [70, 190, 100], [225, 180, 40],
  [100, 155, 255], [220, 120, 220], [60, 190, 205], [255, 255, 255],
];
const INK = [[26, 28, 33], [224, 227, 232]]; // on light paper, on dark paper
const PAPER = [[255, 255, 255], [18, 20, 24]];
const NAMES = ["bold", "dim", "italic", "underline", "strike", "control"];
const CONTRAST = 4.5; // as WCAG 2 asks of text

const SWITCHES = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true },
  7: { inverse: true }, 9: { strike: true }, 21: { underline: true },
  22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false },
  27: { inverse: false }, 29: { strike: false }, 39: { ink: null }, 49: { paper: null },
};

/**
 * Return the style that follows from another by the parameters of an SGR sequence.
 * What is not known is passed over; text is never hidden.
 */
export function styled(style, parameters) {
  const numbers = parameters.split(";");
  let now = style;
  while (numbers.length) {
    const [code, ...details] = numbers.shift().split(":");
    const n = Number(code || 0);
    if (n === 0) now = null;
    else if (n === 38 || n === 48) {
      const colour = details.length ? within(details) : following(numbers);
      if (colour !== null) now = { ...now, [n === 38 ? "ink" : "paper"]: colour };
    } else if (n === 4 && details[0] === "0") now = { ...now, underline: false };
    else now = { ...now, ...(SWITCHES[n] ?? ofSixteen(n)) };
  }
  return now;
}

/**
 * Return how a style is drawn: names of classes, and colours where a class has none.
 */
export function look(style) {
  const names = NAMES.filter((name) => style[name]);
  let { ink = null, paper = null } = style;
  if (style.inverse) {
    if (ink === null && paper === null) return { names: [...names, "inverse"] };
    [ink, paper] = [paper ?? "paper", ink ?? "ink"];
  }
  if (paper === null) return onOurs(names, ink);
  return { names, ...onOther(ink, paper) };
}

function within(details) {
  const n = details.map(Number);
  if (n[0] === 5) return ofMany(n[1]);
  return n[0] === 2 ? rgb(n.slice(-3)) : null;
}

function following(numbers) {
  const kind = numbers.shift();
  if (kind === "5") return ofMany(Number(numbers.shift()));
  return kind === "2" ? rgb(numbers.splice(0, 3).map(Number)) : null;
}

function ofSixteen(n) {
  if (n >= 30 && n <= 37) return { ink: n - 30 };
  if (n >= 90 && n <= 97) return { ink: n - 82 };
  if (n >= 40 && n <= 47) return { paper: n - 40 };
  return n >= 100 && n <= 107 ? { paper: n - 92 } : null;
}

/** Return a colour of the 256: the 16, a cube of 6 × 6 × 6, and 24 greys. */
function ofMany(n) {
  if (!(n >= 0 && n <= 255)) return null;
  if (n < 16) return n;
  if (n > 231) return rgb(Array(3).fill(8 + 10 * (n - 232)));
  const level = (part) => (part ? 55 + 40 * part : 0);
  const cube = n - 16;
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

function rgb(parts) {
  const isColour = parts.length === 3 && parts.every((p) => p >= 0 && p <= 255);
  return isColour ? parts : null;
}

function onOurs(names, ink) {
  if (ink === null) return { names };
  if (typeof ink === "number") return { names: [...names, `ansi-${ink}`] };
  return { names, ink: byTheme((theme) => readable(ink, PAPER[theme])) };
}

/** Return colours for text on what is not our paper: one may be the one of our theme. */
function onOther(ink, paper) {
  const ground = (theme) => {
    if (paper === "ink") return INK[theme];
    return typeof paper === "number" ? PALETTE[paper] : paper;
  };
  const letters = (theme) => {
    if (ink === "paper") return PAPER[theme];
    if (ink === null) return ends(ground(theme));
    return typeof ink === "number" ? PALETTE[ink] : ink;
  };
  return {
    ink: byTheme((theme) => readable(letters(theme), ground(theme))),
    paper: byTheme(ground),
  };
}

function byTheme(colour) {
  const [light, dark] = [0, 1].map((theme) => `rgb(${colour(theme).join(" ")})`);
  return light === dark ? light : `light-dark(${light}, ${dark})`;
}

/** Return a colour moved towards black or white until it can be read on `paper`. */
function readable(ink, paper) {
  const [end] = ends(paper);
  for (let step = 0; step < 10; step += 1) {
    const moved = ink.map((part) => Math.round(part + ((end - part) * step) / 10));
    if (contrast(moved, paper) >= CONTRAST) return moved;
  }
  return ends(paper);
}

/** Return what stands out most on a colour: black or white. */
function ends(paper) {
  return Array(3).fill(luminance(paper) > 0.18 ? 0 : 255);
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour) {
  const [r, g, b] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
