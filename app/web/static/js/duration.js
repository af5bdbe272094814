/* How long something has taken, for people; `duration.py` says the same. */
import { t } from "./words.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

/**
 * Return a duration, a long one by its two largest units.
 * @param {number} seconds
 */
export function lasting(seconds) {
  if (seconds < 0.9995)
    return t("{milliseconds} ms", { milliseconds: Math.max(0, Math.round(seconds * 1000)) });
  if (seconds < 9.95) return t("{seconds} s", { seconds: seconds.toFixed(1) });
  const whole = Math.round(seconds);
  if (whole < MINUTE) return t("{seconds} s", { seconds: whole });
  const [minutes, hours, days] = [MINUTE, HOUR, DAY].map((u) => Math.floor(whole / u));
  if (whole < HOUR)
    return t("{minutes} min {seconds} s", { minutes, seconds: whole % MINUTE });
  if (whole < DAY) return t("{hours} h {minutes} min", { hours, minutes: minutes % 60 });
  return t("{days} d {hours} h", { days, hours: hours % 24 });
}
