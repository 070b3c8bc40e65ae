/** What keeps one from writing in a group: a mute, the rank, encryption, the slow mode. */

import { $, setText } from "./dom.js";
import { counted } from "./names.js";
import { may, RANK_WORDS } from "./ranks.js";
import { untilWords } from "./words.js";

/** Null where one may write, else `{ text, until }`; a `final` one leaves no place to write in. */
export function restrictionOf(store, peer) {
  const group = store.groups.all.get(peer);
  if (!group) return null;
  if (group.encrypted) return { text: "This group takes encrypted messages only; this page writes none.", final: true };
  if (!may(group, "post")) return { text: `Only ${ranks(group.permissions.post)} can write here.`, final: true };
  const muted = Date.parse(group.me.muted_until ?? 0);
  if (muted > Date.now()) {
    return { text: `A moderator has muted you until ${untilWords(group.me.muted_until)}.`, until: muted, final: true };
  }
  const slow = store.groups.slow.get(peer) ?? 0;
  if (slow <= Date.now()) return null;
  const pause = group.settings.slow_mode;
  const text = pause > 0 ? `Slow mode: ${counted(pause, "second")} between two messages.` : "Slow mode.";
  return { text, until: slow, final: false };
}

const ranks = (rank) => (rank === "owner" ? "the owner" : `${RANK_WORDS[rank].toLowerCase()}s and above`);

/** Show it in place of the composer, or above it. `onChange(restriction)`: it begins, changes or ends. */
export function startRestrictions({ store, peer, onChange }) {
  let ticking = 0;
  store.on(["groups"], show);

  function show() {
    clearTimeout(ticking);
    const restriction = peer() === null ? null : restrictionOf(store, peer());
    $("hold").hidden = restriction === null;
    $("composer").classList.toggle("held", Boolean(restriction?.final));
    // Said once: the seconds beside it count down in silence.
    setText($("hold-text"), restriction?.text ?? "");
    setText($("hold-wait"), restriction && !restriction.final ? waitWords(restriction.until) : "");
    onChange(restriction);
    if (restriction?.until) ticking = setTimeout(show, Math.min(1_000, restriction.until - Date.now()));
  }

  return { show };
}

function waitWords(until) {
  return `You can write again in ${counted(Math.ceil((until - Date.now()) / 1000), "second")}.`;
}
