/**
 * One device's live connection: a ticket, a socket, a cursor, and what to do when any of them fails.
 *
 * The cursor belongs to the state that was loaded: `load()` loads all of it and gives its cursor, and each event moves
 * both on. As long as the page lives a new socket resumes from there, so that nothing is lost and nothing is loaded
 * twice; where there is no cursor (at the start, and after `resync`) the state is loaded first.
 */

import { addressOf, fullJitter, NetworkError, Problem } from "./api.js";

const PROTOCOL = "messenger.json";
const CONNECT_TIMEOUT = 15_000;
const REPLY_TIMEOUT = 10_000;
const PROBE_TIMEOUT = 3_000;
const STEADY = 10_000; // A connection that lived for this long makes up for the failures before it.
const CURSORS_REMEMBERED = 1_000;

// Close codes (docs/api/realtime.md).
const LOST = 1006, RESTART = 1012, SIGNED_OUT = 4401, SILENT = 4408, ELSEWHERE = 4409, TOO_MANY = 4429;
const OUR_FAULT = new Set([1003, 1007, 1009]);

/** There is no socket, or it was lost before the reply came: nobody knows whether the request was carried out. */
export class Disconnected extends Error {
  constructor() {
    super("The connection was lost");
  }
}

export class Realtime {
  /**
   * - `load()` loads everything, and gives the cursor up to which that is complete
   * - `ticket()` gives a ticket for one socket
   * - `onEvent(frame)`, `onSignal(frame)`: in order, each event once
   * - `onCaughtUp()`: all that was missed has come; signals may have been lost
   * - `onState({ name, until?, told?, reason? })`: `connecting`, `live`, `waiting` (until a time; `told` by the server,
   *   so it isn't shortened), `ended` (for a reason)
   */
  constructor({ load, ticket, onEvent, onSignal, onCaughtUp, onState }) {
    this.#hooks = { load, ticket, onEvent, onSignal, onCaughtUp, onState };
    this.state = { name: "ended", reason: "stopped" };
  }

  #hooks;
  #cursor = null;
  #seen = new Set();
  #socket = null;
  #attempt = 0; // What an older attempt still brings is nobody's any more.
  #failures = 0;
  #welcomedAt = 0;
  #requests = new Map();
  #lastId = 0;
  #timers = { connect: 0, retry: 0, beat: 0 };
  #ready = false;

  /** Whether requests can be sent. */
  get ready() {
    return this.#ready;
  }

  start() {
    this.#cursor = null;
    this.#failures = 0;
    this.#connect();
  }

  stop(reason = "stopped") {
    this.#leave();
    this.#attempt++;
    this.#tell({ name: "ended", reason });
  }

  /** Something has changed outside (network, visibility): don't wait any longer, and don't trust what looks alive. */
  nudge() {
    if (this.state.name === "waiting") this.state.told || this.#connect();
    else if (this.#ready) this.#ping(PROBE_TIMEOUT);
  }

  /** Ask over the socket. Raises `Problem` as HTTP does, `Disconnected` where no reply came. */
  request(method, data = undefined, timeout = REPLY_TIMEOUT) {
    if (!this.#ready) return Promise.reject(new Disconnected());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, (request) => request.reject(new Disconnected())), timeout);
      this.#requests.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ type: "request", id, method, data }));
    });
  }

  // --- connecting ---

  async #connect() {
    this.#leave();
    const attempt = ++this.#attempt;
    this.#tell({ name: "connecting" });
    try {
      if (this.#cursor === null) {
        const cursor = await this.#hooks.load();
        if (attempt !== this.#attempt) return;
        this.#cursor = cursor;
      }
      const ticket = await this.#hooks.ticket();
      if (attempt === this.#attempt) this.#open(ticket);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error.status === 401) this.stop("signed_out");
      else if (error.retryAfter > 0) this.#again(error.retryAfter * 1000 + fullJitter(this.#failures), true);
      else this.#again(fullJitter(this.#failures));
      if (!(error instanceof Problem || error instanceof NetworkError)) console.error(error);
    }
  }

  #open(ticket) {
    const query = new URLSearchParams({ ticket, cursor: this.#cursor });
    const socket = new WebSocket(addressOf(`/ws?${query}`).replace(/^http/, "ws"), PROTOCOL);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#onFrame(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#onClose(code, reason);
    };
    this.#timers.connect = setTimeout(() => this.#onClose(LOST, ""), CONNECT_TIMEOUT);
  }

  /** Let go of the socket, whatever becomes of it: a dead one takes minutes to notice. */
  #leave() {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    socket?.close();
    for (const id of [...this.#requests.keys()]) this.#settle(id, (request) => request.reject(new Disconnected()));
  }

  #onClose(code, reason) {
    if (this.#welcomedAt && Date.now() - this.#welcomedAt > STEADY) this.#failures = 0;
    this.#welcomedAt = 0;
    this.#leave();
    if (code === SIGNED_OUT) this.stop("signed_out");
    else if (code === ELSEWHERE) this.stop("elsewhere");
    else if (OUR_FAULT.has(code)) this.stop("refused");
    else this.#comeBack(code, reason);
  }

  #comeBack(code, reason) {
    const jitter = fullJitter(this.#failures);
    const told = /^retry_after=(\d+(?:\.\d+)?)/.exec(reason);
    if (code === TOO_MANY) this.#again(60_000 + jitter, true);
    // The server has spread its clients over this time already.
    else if (code === RESTART && told) this.#again(Number(told[1]) * 1000, true);
    else this.#again(code === SILENT && this.#failures === 0 ? 0 : jitter);
  }

  #again(wait, told = false) {
    this.#failures++;
    this.#timers.retry = setTimeout(() => this.#connect(), wait);
    this.#tell({ name: "waiting", until: Date.now() + wait, told });
  }

  // --- frames ---

  #onFrame(frame) {
    // Types that are not known here are those of a later server: passed over.
    if (frame.type === "event") this.#onEvent(frame);
    else if (frame.type === "signal") this.#hooks.onSignal(frame);
    else if (frame.type === "reply") this.#onReply(frame);
    else if (frame.type === "welcome") this.#onWelcome(frame);
    else if (frame.type === "caught_up") this.#onCaughtUp(frame);
    else if (frame.type === "resync") this.#onResync();
  }

  #onWelcome(frame) {
    clearTimeout(this.#timers.connect);
    this.#welcomedAt = Date.now();
    this.#ready = true;
    // The browser answers the server's pings, but doesn't show them to us: our own tell whether the line is alive.
    this.#timers.beat = setInterval(() => this.#ping(REPLY_TIMEOUT), frame.heartbeat * 1000);
  }

  #onEvent(frame) {
    // Over a broken connection an event may come again, with the same cursor.
    if (this.#seen.has(frame.cursor)) return;
    this.#hooks.onEvent(frame);
    this.#cursor = frame.cursor;
    this.#seen.add(frame.cursor);
    if (this.#seen.size > CURSORS_REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
  }

  #onCaughtUp(frame) {
    this.#cursor = frame.cursor;
    this.#tell({ name: "live" });
    this.#hooks.onCaughtUp();
  }

  /** The cursor is too old, or not of this stream: one way to begin, so begin. */
  #onResync() {
    this.#cursor = null;
    this.#seen.clear();
    this.#leave();
    this.#again(this.#failures === 0 ? 0 : fullJitter(this.#failures));
  }

  #onReply(frame) {
    this.#settle(frame.id, (request) => {
      if (frame.error) request.reject(new Problem(frame.error));
      else request.resolve(frame.data);
    });
  }

  #settle(id, how) {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    how(request);
  }

  async #ping(timeout) {
    const socket = this.#socket;
    try {
      await this.request("ping", undefined, timeout);
    } catch (error) {
      if (error instanceof Disconnected && socket !== null && socket === this.#socket) this.#onClose(LOST, "");
    }
  }

  #tell(state) {
    this.state = state;
    this.#hooks.onState(state);
  }
}
