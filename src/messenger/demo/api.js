/** HTTP: JSON in and out, problems as errors, tokens that renew themselves, creating requests that may be repeated. */

/** The path of an API path on this server: relative to this page, so that it works under any path prefix. */
function placeOf(path) {
  const server = new URL(location.pathname.endsWith("/") ? ".." : ".", location.href);
  return server.pathname.replace(/\/$/, "") + path;
}

/** The absolute URL of an API path; absolute URLs are returned unchanged. */
export function addressOf(path) {
  return new URL(path.startsWith("/") ? placeOf(path) : path, location.href).href;
}

const TIMEOUT = 15_000;
const UPLOAD_TIMEOUT = 120_000;
const ATTEMPTS = 3;

/** A refusal by the server: a problem document (RFC 9457). `retryAfter`: the seconds to wait, or 0; `until`: how long one is muted. */
export class Problem extends Error {
  constructor(problem, retryAfter = problem.retry_after) {
    super(problem.detail ?? problem.title);
    this.status = problem.status;
    this.code = problem.code;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter > 0 ? retryAfter : 0;
    this.until = problem.until ?? null;
  }
}

/** No answer: nobody knows whether the server has seen the request. */
export class NetworkError extends Error {
  constructor() {
    super("The server can't be reached");
  }
}

/** Whether the same request may succeed later. */
export function isTransient(error) {
  return !(error instanceof Problem) || [408, 425, 429].includes(error.status) || error.status >= 500;
}

/** A random wait in milliseconds up to a bound that doubles: clients that failed together don't come back together. */
export function fullJitter(failures, first = 500, last = 30_000) {
  return Math.random() * Math.min(last, first * 2 ** failures);
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A UUID; `crypto.randomUUID` is there in secure contexts alone, and a demo may be looked at over a local network. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export class Api {
  /** Called once the device is signed out, whoever did it. */
  onSignedOut = () => {};
  #session;
  #refreshing = null;

  constructor(session) {
    this.#session = session;
  }

  get(path) {
    return this.#request("GET", path);
  }

  /** `once`: it creates something, so it carries a key, and is repeated under it where no answer came. */
  post(path, body, { once = false, anonymous = false } = {}) {
    return this.#request("POST", path, { body, once, anonymous });
  }

  put(path, body) {
    return this.#request("PUT", path, { body });
  }

  patch(path, body) {
    return this.#request("PATCH", path, { body });
  }

  delete(path, body) {
    return this.#request("DELETE", path, { body });
  }

  upload(path, file) {
    const form = new FormData();
    form.append("file", file);
    return this.#request("POST", path, { form, once: true });
  }

  /** All items of a list, across pages. */
  async all(path) {
    const items = [];
    let cursor = null;
    do {
      const page = await this.get(`${path}?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      items.push(...page.items);
      cursor = page.next;
    } while (cursor !== null);
    return items;
  }

  async #request(method, path, options = {}) {
    const headers = options.once ? { "Idempotency-Key": newId() } : {};
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#authorised(method, path, { ...options, headers });
      } catch (error) {
        if (!options.once || !(error instanceof NetworkError) || attempt === ATTEMPTS) throw error;
        await sleep(fullJitter(attempt));
      }
    }
  }

  async #authorised(method, path, options) {
    if (options.anonymous) return send(method, path, options);
    const token = this.#session.tokens?.access_token;
    try {
      return await send(method, path, options, token);
    } catch (error) {
      // Other codes of a 401 mean what was sent, such as a password, and not the token.
      if (error.code !== "unauthenticated" || !token) throw error;
      await this.#renew(token, error);
      return send(method, path, options, this.#session.tokens.access_token);
    }
  }

  /** The next tokens, asked for once however many requests found the old one expired. */
  async #renew(token, error) {
    if (!this.#session.tokens) throw error;
    if (this.#session.tokens.access_token !== token) return;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    await this.#refreshing;
  }

  async #refresh() {
    const shown = this.#session.tokens.refresh_token;
    try {
      this.#session.renew((await send("POST", "/token/refresh", { body: { refresh_token: shown } })).tokens);
    } catch (error) {
      // A duplicate of this tab refreshed first, and has shared its newer tokens.
      const twinRenewed = error.code === "refresh_token_superseded" && this.#session.tokens?.refresh_token !== shown;
      if (twinRenewed) return;
      if (error.status === 401) this.onSignedOut();
      throw error;
    }
  }
}

async function send(method, path, { body, form, headers = {} }, token = null) {
  const given = { Accept: "application/json", ...headers };
  if (token) given.Authorization = `Bearer ${token}`;
  if (body !== undefined) given["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(placeOf(path), {
      method,
      headers: given,
      body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
      credentials: "omit",
      signal: AbortSignal.timeout(form ? UPLOAD_TIMEOUT : TIMEOUT),
    });
    text = await response.text();
  } catch {
    throw new NetworkError();
  }
  if (response.ok) return text ? JSON.parse(text) : null;
  throw new Problem(problemOf(response, text), Number(response.headers.get("Retry-After")));
}

function problemOf(response, text) {
  try {
    return JSON.parse(text);
  } catch {
    // Whatever stands between the server and us answers in its own words.
    return { status: response.status, code: `http_${response.status}`, title: `The server answered ${response.status}` };
  }
}
