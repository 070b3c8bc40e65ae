/** Expiring messages: no event is sent when a message expires; `expires_at` has the time. */

/** Whether a message was deleted or has expired. */
export function isGone({ body, expires_at }) {
  return body === null || (Boolean(expires_at) && Date.parse(expires_at) <= Date.now());
}

// Timers stop while the computer is suspended, so none is set for longer than this.
const LOOK_AGAIN = 1_000;

/** Calls `onExpired()` when a watched message expires. */
export class Expiry {
  #onExpired;
  #times = new Set();
  #timer = 0;

  constructor(onExpired) {
    this.#onExpired = onExpired;
  }

  watch(message) {
    if (!message?.expires_at || isGone(message)) return;
    this.#times.add(Date.parse(message.expires_at));
    this.#wait();
  }

  /** Check now: the page was hidden, or the computer was suspended. */
  check() {
    const now = Date.now();
    const over = [...this.#times].filter((time) => time <= now);
    for (const time of over) this.#times.delete(time);
    if (over.length > 0) this.#onExpired();
    this.#wait();
  }

  clear() {
    this.#times.clear();
    clearTimeout(this.#timer);
  }

  #wait() {
    clearTimeout(this.#timer);
    if (this.#times.size === 0) return;
    const wait = Math.min(...this.#times) - Date.now();
    this.#timer = setTimeout(() => this.check(), Math.min(Math.max(wait, 0), LOOK_AGAIN));
  }
}
