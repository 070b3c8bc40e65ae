/** Names and pictures of users and groups, by ID. Those that are missing are loaded, each once at a time. */

export class People {
  #api;
  #onChanged;
  #known = new Map();
  #asked = new Map();

  constructor(api, onChanged) {
    this.#api = api;
    this.#onChanged = onChanged;
  }

  get(id) {
    return this.#known.get(id);
  }

  has(id) {
    return this.#known.has(id);
  }

  know(user) {
    this.#known.set(user.id, { ...this.#known.get(user.id), ...user });
    this.#onChanged();
  }

  /** Load a user who is not known yet. */
  async meet(id) {
    if (this.#known.has(id)) return;
    if (!this.#asked.has(id)) this.#asked.set(id, this.#api.get(`/users/${id}`));
    const asked = this.#asked.get(id);
    try {
      const person = await asked;
      // Cleared meanwhile: the answer is for somebody who isn't here any more.
      if (this.#asked.get(id) === asked && !this.#known.has(id)) this.know(person);
    } catch (error) {
      if (error.code !== "peer_not_found") throw error;
      // A former member whose account was erased is not found any more.
      this.know({ id, username: null, name: "Deleted account", avatar: null });
    } finally {
      if (this.#asked.get(id) === asked) this.#asked.delete(id);
    }
  }

  clear() {
    this.#known.clear();
    this.#asked.clear();
  }
}
