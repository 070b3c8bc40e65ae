/** The messages of open conversations: loaded page by page, kept whole by events while they are open. */

const PAGE = 50;

export class Threads {
  #api;
  #people;
  #groups;
  #hooks;
  #open = new Map();

  /** `onMessage(message, thread)`: a message of a page of history. `changed(topic)`: something is shown now. */
  constructor(api, { people, groups, onMessage, changed }) {
    this.#api = api;
    this.#people = people;
    this.#groups = groups;
    this.#hooks = { onMessage, changed };
  }

  /** `{ peer, loaded, older, loading, messages, notices }`; the last two by ID. */
  get(peer) {
    return this.#open.get(peer);
  }

  get peers() {
    return [...this.#open.keys()];
  }

  close(peer) {
    this.#open.delete(peer);
  }

  clear() {
    this.#open.clear();
  }

  /** The latest messages of a conversation; from then on events keep them whole. */
  async open(peer) {
    const thread = { peer, loaded: false, older: null, loading: true, messages: new Map(), notices: new Map() };
    this.#open.set(peer, thread);
    try {
      this.#takePage(thread, await this.#api.get(`/history/${peer}?limit=${PAGE}`));
      thread.loaded = true;
    } finally {
      thread.loading = false;
      this.#hooks.changed("thread");
    }
    await this.#people.meet(peer);
  }

  async loadOlder(peer) {
    const thread = this.#open.get(peer);
    if (!thread || thread.loading || thread.older === null) return;
    thread.loading = true;
    try {
      this.#takePage(thread, await this.#api.get(`/history/${peer}?before=${thread.older}&limit=${PAGE}`));
    } finally {
      thread.loading = false;
    }
    this.#hooks.changed("thread");
  }

  takeNotice(peer, notice) {
    const thread = this.#open.get(peer);
    if (!thread) return;
    thread.notices.set(notice.id, notice);
    this.#hooks.changed("thread");
    this.#meetAll(thread).catch(() => {});
  }

  #takePage(thread, page) {
    // Closed, or loaded anew meanwhile.
    if (this.#open.get(thread.peer) !== thread) return;
    thread.older = page.next;
    for (const message of page.items) this.#hooks.onMessage(message, thread);
    for (const notice of page.notices) thread.notices.set(notice.id, notice);
    this.#meetAll(thread).catch(() => {});
  }

  /** Load the names of those who wrote in a group, or of whom its notices speak. */
  async #meetAll({ peer, messages, notices }) {
    if (!this.#groups.all.has(peer)) return;
    const ids = new Set([...messages.values()].map(({ sender_id }) => sender_id));
    for (const { action, actor_id, user_id, to } of notices.values()) {
      for (const id of [actor_id, user_id, action === "owner" ? to : null]) if (id !== null) ids.add(id);
    }
    const unknown = () => [...ids].filter((id) => !this.#people.has(id));
    // One request for most of them. Who has left since is looked up alone.
    if (unknown().length > 0) await this.#groups.loadNames(peer);
    for (const id of unknown()) await this.#people.meet(id);
  }
}
