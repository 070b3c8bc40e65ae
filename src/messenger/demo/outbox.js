/**
 * Messages on their way out. Each has one `client_id`, made before the first attempt and kept over a reload of the page,
 * so that it can be sent again and again and makes one message. Those to one peer go one after the other, in order.
 */

import { fullJitter, isTransient, newId, sleep } from "./api.js";
import { Disconnected } from "./realtime.js";
import { words } from "./refusals.js";

export class Outbox {
  #realtime;
  #api;
  #session;
  #onChange;
  #onSent;
  #onSlow;
  #drafts = [];
  #running = new Set();
  #sleepers = new Set(); // Resolvers of the waits that may be cut short.

  /**
   * - `onChange(targetId)`: its drafts are others now
   * - `onSent(message)`: the server has it
   * - `onSlow(targetId, until)`: a group takes the next one at that time, by its slow mode
   */
  constructor({ realtime, api, session, onChange, onSent, onSlow }) {
    this.#realtime = realtime;
    this.#api = api;
    this.#session = session;
    this.#onChange = onChange;
    this.#onSent = onSent;
    this.#onSlow = onSlow;
  }

  /** Take up what an earlier life of this page has left. */
  resume() {
    this.#drafts = this.#session.recall("outbox") ?? [];
    for (const target of new Set(this.#drafts.map((draft) => draft.target_id))) this.#run(target);
  }

  clear() {
    this.#drafts = [];
  }

  /** What waits for this peer, or was refused, in order: `{ client_id, body, created_at, error }`. */
  of(targetId) {
    return this.#drafts.filter((draft) => draft.target_id === targetId);
  }

  send(targetId, body) {
    const draft = { target_id: targetId, client_id: newId(), body, created_at: new Date().toISOString(), error: null };
    this.#drafts.push(draft);
    this.#changed(targetId);
    this.#run(targetId);
  }

  /** Try a refused one once more. */
  retry(clientId) {
    const draft = this.#drafts.find((each) => each.client_id === clientId);
    if (!draft) return;
    draft.error = null;
    this.#changed(draft.target_id);
    this.#run(draft.target_id);
  }

  discard(clientId) {
    const draft = this.#drafts.find((each) => each.client_id === clientId);
    if (draft) this.#remove(draft);
  }

  /** Nothing is sent to this peer any more. */
  drop(targetId) {
    for (const draft of this.of(targetId)) this.#remove(draft);
  }

  /** Its event came, maybe before the reply did. */
  settle(clientId) {
    this.discard(clientId);
  }

  /** The connection is back: don't wait any longer. */
  wake() {
    for (const end of this.#sleepers) end();
    this.#sleepers.clear();
  }

  #pause(milliseconds) {
    return new Promise((end) => {
      this.#sleepers.add(end);
      sleep(milliseconds).then(() => this.#sleepers.delete(end) && end());
    });
  }

  async #run(targetId) {
    if (this.#running.has(targetId)) return;
    this.#running.add(targetId);
    let failures = 0;
    try {
      for (let draft; (draft = this.#next(targetId)); ) {
        try {
          const message = await this.#deliver(draft);
          failures = 0;
          // Its event may have come first; or the device was signed out.
          if (!this.#drafts.includes(draft)) continue;
          this.#remove(draft);
          this.#onSent(message);
        } catch (error) {
          if (error.status === 401) return;
          if (error.code === "slow_mode") this.#onSlow(targetId, Date.now() + error.retryAfter * 1000);
          if (isTransient(error)) {
            // A wait that the server requested is kept; our own ends when the connection is back.
            await sleep((error.retryAfter ?? 0) * 1000);
            await this.#pause(fullJitter(failures++));
          } else {
            draft.error = words(error);
            this.#changed(targetId);
          }
        }
      }
    } finally {
      this.#running.delete(targetId);
    }
  }

  #next(targetId) {
    return this.#drafts.find((draft) => draft.target_id === targetId && draft.error === null);
  }

  /** Over the socket, and over HTTP where there is none or it doesn't answer: the `client_id` makes both one. */
  async #deliver({ target_id, client_id, body }) {
    const draft = { target_id, client_id, body };
    try {
      return await this.#realtime.request("message.send", draft);
    } catch (error) {
      if (!(error instanceof Disconnected)) throw error;
    }
    return this.#api.post("/messages", draft);
  }

  #remove(draft) {
    this.#drafts = this.#drafts.filter((each) => each !== draft);
    this.#changed(draft.target_id);
  }

  #changed(targetId) {
    this.#session.remember("outbox", this.#drafts);
    this.#onChange(targetId);
  }
}
