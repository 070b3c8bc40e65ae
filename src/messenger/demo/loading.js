/** Loading what a device must know, so that its stream can go on from there. */

const PAGE = "/conversations?limit=200";

/** Everything that is not a thread, and the cursor at or before which it is complete: events after it may be in it. */
export async function loadAll(api) {
  // The cursor comes first: all that is read after it is newer, so nothing falls in between.
  const first = await api.get(PAGE);
  const conversations = await restOf(api, first);
  const contacts = await api.all("/contacts");
  const me = await api.get("/profile");
  return { cursor: first.cursor, conversations, contacts, me };
}

/**
 * All conversations. One that gets a message while pages are read moves to the top, past the page that is read next. So
 * the top is read again, down to a conversation that has not moved; and once more where that took more than one page.
 */
async function restOf(api, first) {
  const found = new Map();
  const isKnown = (view) => found.get(view.target.id)?.last_seq === view.last_seq;
  const keep = ({ items }) => items.forEach((view) => found.set(view.target.id, view));
  const read = (cursor) => api.get(cursor === null ? PAGE : `${PAGE}&cursor=${encodeURIComponent(cursor)}`);

  let page = first;
  let pages = 1;
  for (keep(page); page.next !== null; pages++) keep((page = await read(page.next)));
  while (pages > 1) {
    pages = 0;
    let reached;
    do {
      page = await read(pages === 0 ? null : page.next);
      pages++;
      reached = page.items.some(isKnown);
      keep(page);
    } while (!reached && page.next !== null);
  }
  return [...found.values()];
}
