/** Times and states in words. */

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat("en", { weekday: "long" });
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "long" });
const dateOfYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export const STATUS_WORDS = { online: "Online", away: "Away", busy: "Busy", invisible: "Invisible", offline: "Offline" };

export const timeOf = (at) => clock.format(new Date(at));

/** The local calendar day, as a key. */
export const dayKey = (at) => new Date(at).toDateString();

function daysSince(at) {
  const midnight = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate());
  return Math.round((midnight(new Date()) - midnight(new Date(at))) / 86_400_000);
}

/** `Today`, `Yesterday`, `Monday`, `3 May`, `3 May 2024`. */
export function dayOf(at) {
  const days = daysSince(at);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return weekday.format(new Date(at));
  return (isThisYear(at) ? date : dateOfYear).format(new Date(at));
}

const isThisYear = (at) => new Date(at).getFullYear() === new Date().getFullYear();

/** The time of a message in a list: an hour of today, else a day. */
export function shortTime(at) {
  const days = daysSince(at);
  if (days <= 0) return timeOf(at);
  return days === 1 ? "Yesterday" : short.format(new Date(at));
}

export function since(at) {
  const minutes = Math.round((Date.now() - new Date(at)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return ago.format(-minutes, "minute");
  if (minutes < 24 * 60) return ago.format(-Math.round(minutes / 60), "hour");
  return ago.format(-Math.round(minutes / 1440), "day");
}

/** A time to come: `14:30` of today, else `3 May, 14:30`. */
export function untilWords(at) {
  const day = (isThisYear(at) ? short : dateOfYear).format(new Date(at));
  return daysSince(at) === 0 ? timeOf(at) : `${day}, ${timeOf(at)}`;
}

/** The text in place of a deleted or expired message. */
export function goneWords({ deleted_at, deleted_by }) {
  if (!deleted_at) return "Message expired";
  return deleted_by ? "Message deleted by a moderator" : "Message deleted";
}

// Hebrew to Arabic Extended-A, their presentation forms, scripts beyond the BMP, marks and overrides.
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}\u200f\u202b\u202e\u2067]/u;

/** Whether any part of a text is right-to-left. */
export const hasRightToLeft = (text) => RIGHT_TO_LEFT.test(text);

/** What the dot shows: `online`, `away`, `busy` or `offline`. */
export const presenceOf = (status) => (status?.online ? status.status : "offline");

/** How someone is, in a line. */
export function presenceWords(status) {
  if (!status) return "";
  const text = status.status_text ? ` · ${status.status_text}` : "";
  if (status.online) return STATUS_WORDS[status.status] + text;
  return (status.last_activity ? `Last seen ${since(status.last_activity)}` : STATUS_WORDS.offline) + text;
}

/** A name for this device that its owner will know again. */
export function deviceName() {
  const agent = navigator.userAgent;
  const browsers = { Edge: /Edg/, Firefox: /Firefox/, Chrome: /Chrome|Chromium/, Safari: /Safari/ };
  const systems = { Android: /Android/, iPhone: /iPhone/, iPad: /iPad/, Windows: /Windows/, macOS: /Mac OS/, Linux: /Linux/ };
  const find = (kinds, otherwise) => Object.keys(kinds).find((name) => kinds[name].test(agent)) ?? otherwise;
  return `${find(browsers, "Browser")} on ${find(systems, "some system")}`;
}
