/** How long something holds: choices, and the time at which it ends. */

import { el } from "./dom.js";

const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

export const MUTES = [[HOUR, "1 hour"], [8 * HOUR, "8 hours"], [DAY, "1 day"], [7 * DAY, "1 week"]];
export const BANS = [["", "Forever"], [DAY, "1 day"], [7 * DAY, "1 week"], [30 * DAY, "30 days"]];
export const EXPIRIES = [[7 * DAY, "In 7 days"], [DAY, "In 1 day"], [30 * DAY, "In 30 days"], ["", "Never"]];
export const PAUSES = [
  [0, "Off"], [10, "10 seconds"], [30, "30 seconds"], [MINUTE, "1 minute"], [5 * MINUTE, "5 minutes"], [HOUR, "1 hour"],
];

/** Fill a select with `[value, text]`. */
export function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value: String(value), text })));
}

/** The time in so many seconds, as the server reads it; null for the empty choice. */
export function inSeconds(seconds) {
  return seconds === "" ? null : new Date(Date.now() + Number(seconds) * 1000).toISOString();
}
