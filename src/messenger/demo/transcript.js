/** What a conversation shows, in order: days, the line above what is new, messages, notices, drafts. */

import { isGone } from "./expiry.js";
import { dayKey, dayOf, goneWords } from "./words.js";

const JOINED_WITHIN = 5 * 60_000;

/**
 * - `newFrom`: the number of the message after which all is new; null where nothing is
 * - `marks`: how far the other one has read and received; null in a group
 * - `nameOf(id)`: the sender's name; null where it needn't be shown
 * - `partsOf(notice)`: a notice in words
 */
export function itemsOf({ messages, notices, drafts, me, marks, nameOf, partsOf, newFrom }) {
  const rows = [
    ...messages.map((message) => ofMessage(message, me, marks)),
    ...notices.map((notice) => ofNotice(notice, partsOf)).filter(({ parts }) => parts !== null),
  ].sort((a, b) => a.seq - b.seq || a.after - b.after || a.at.localeCompare(b.at));
  const items = [];
  let day = null;
  let previous = null; // The message above, where the next one may join it.
  for (const row of [...rows, ...drafts.map((draft) => ofDraft(draft, me))]) {
    if (dayKey(row.at) !== day) {
      day = dayKey(row.at);
      items.push({ kind: "day", key: `day-${day}`, text: dayOf(row.at) });
      previous = null;
    }
    if (row.kind === "notice") {
      items.push(row);
      previous = null;
      continue;
    }
    if (newFrom !== null && !row.own && row.seq > newFrom) {
      items.push({ kind: "new", key: "new", text: "New messages" });
      newFrom = null;
      previous = null;
    }
    const joined = previous?.sender === row.sender && new Date(row.at) - new Date(previous.at) < JOINED_WITHIN;
    items.push({ ...row, joined: Boolean(joined), name: row.own || joined ? null : nameOf(row.sender) });
    previous = row;
  }
  return items;
}

function ofMessage(message, me, marks) {
  const own = message.sender_id === me.id;
  const gone = isGone(message);
  const mark = !own || message.deleted_at ? null : marks?.read >= message.seq ? "read"
    : marks?.delivered >= message.seq ? "delivered" : "sent";
  return {
    kind: "message",
    // A draft and the message that it becomes are one element: nothing jumps.
    key: own ? message.client_id : message.id,
    own,
    sender: message.sender_id,
    mark,
    message,
    seq: message.seq,
    after: 0,
    at: message.created_at,
    gone,
    text: gone ? goneWords(message) : message.body,
    edited: message.edited_at !== null && !gone,
  };
}

function ofNotice(notice, partsOf) {
  const { id, after_seq, at } = notice;
  return { kind: "notice", key: `notice-${id}`, seq: after_seq, after: 1, at, parts: partsOf(notice) };
}

function ofDraft(draft, me) {
  return {
    kind: "message",
    key: draft.client_id,
    own: true,
    sender: me.id,
    mark: draft.error ? "failed" : "waiting",
    draft,
    seq: Infinity,
    at: draft.created_at,
    gone: false,
    text: draft.body,
    edited: false,
  };
}
