/** Which of two states holds. None of this depends on the order in which they came, or on how often. */

/** Of two states of one message the later one: deleted is final, and edits are dated. */
export function later(known, message) {
  if (!known || message.deleted_at) return message;
  if (known.deleted_at) return known;
  return (known.edited_at ?? "") > (message.edited_at ?? "") ? known : message;
}

/** The later visible one of two messages; a deleted one only stays until another is known. */
export function last(known, message) {
  if (known && message && known.id === message.id) return later(known, message);
  if (!message || message.deleted_at) return known;
  return !known || known.deleted_at || message.seq > known.seq ? message : known;
}

/** The last message after a view of the conversation, which includes all messages up to its `last_seq`. */
export function lastOf(conversation, view) {
  const known = conversation.last_message;
  if (known && (known.seq > view.last_seq || view.version < conversation.version)) return known;
  const message = view.last_message;
  return known && message && known.id === message.id ? later(known, message) : message;
}

/** An absolute count: the one with the higher version holds. */
export function count(conversation, unread, version) {
  if (version <= conversation.version) return;
  conversation.unread = unread;
  conversation.version = version;
}
