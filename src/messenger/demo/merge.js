/** Which of two states holds. None of this depends on the order in which they came, or on how often. */

/** Of two states of one message the later one: deleted is final, and edits are dated. */
export function later(known, message) {
  if (!known || message.deleted_at) return message;
  if (known.deleted_at) return known;
  return (known.edited_at ?? "") > (message.edited_at ?? "") ? known : message;
}

/** Of two messages the last one of the conversation. */
export function last(known, message) {
  if (!known || !message) return message ?? known;
  if (known.id === message.id) return later(known, message);
  return message.seq > known.seq ? message : known;
}

/** An absolute count: the one with the higher version holds. */
export function count(conversation, unread, version) {
  if (version <= conversation.version) return;
  conversation.unread = unread;
  conversation.version = version;
}
