/**
 * What this tab keeps: who is signed in here, and messages that are not sent yet.
 *
 * sessionStorage belongs to one tab, so two tabs are two devices and don't get into each other's way. A tab that the
 * browser duplicates copies it, and then both are one device: renewed tokens are told to the twin, because a refresh
 * token that is shown a second time signs the device out.
 */

const PREFIX = "messenger.";
const channel = new BroadcastChannel("messenger.tokens");

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

function write(name, value) {
  if (value === null) sessionStorage.removeItem(PREFIX + name);
  else sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
}

class Session {
  #identity = read("identity");
  #tokens = read("tokens");

  constructor() {
    channel.onmessage = ({ data }) => {
      if (data.device === this.device?.id) this.#keep(data.tokens);
    };
  }

  get signedIn() {
    return this.#identity !== null && this.#tokens !== null;
  }

  get user() {
    return this.#identity?.user ?? null;
  }

  get device() {
    return this.#identity?.device ?? null;
  }

  get tokens() {
    return this.#tokens;
  }

  /** Take what `POST /register` or `POST /login` answered. */
  begin({ user, device, tokens }) {
    this.#identity = { user, device };
    write("identity", this.#identity);
    this.#keep(tokens);
  }

  /** The next pair of tokens. */
  renew(tokens) {
    this.#keep(tokens);
    channel.postMessage({ device: this.device.id, tokens });
  }

  /** Forget everything. */
  end() {
    this.#identity = this.#tokens = null;
    for (const name of ["identity", "tokens", "outbox", "marks"]) write(name, null);
  }

  /** Something that lives as long as this tab's session: null where there is nothing. */
  recall(name) {
    return read(name);
  }

  remember(name, value) {
    if (this.signedIn) write(name, value);
  }

  #keep(tokens) {
    this.#tokens = tokens;
    write("tokens", tokens);
  }
}

export const session = new Session();
