/** Who types in which conversation. A signal holds for some seconds and then ends by itself. */

const SECONDS = 9; // A little more than the server's eight; its own clock may differ from this one.

export class Typing {
  #onChanged;
  #timers = new Map(); // By conversation, then by user.

  constructor(onChanged) {
    this.#onChanged = onChanged;
  }

  /** The IDs of the users who type there. */
  of(peer) {
    return [...(this.#timers.get(peer)?.keys() ?? [])];
  }

  set(peer, user, typing) {
    const timers = this.#timers.get(peer) ?? new Map();
    const known = timers.get(user);
    if (known === undefined && !typing) return;
    clearTimeout(known);
    if (typing) timers.set(user, setTimeout(() => this.set(peer, user, false), SECONDS * 1000));
    else timers.delete(user);
    this.#timers.set(peer, timers);
    this.#onChanged();
  }

  clear() {
    for (const timers of this.#timers.values()) for (const timer of timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
