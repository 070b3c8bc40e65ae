/** Creating a group. */

import { $, icon, toast } from "./dom.js";
import { handle } from "./forms.js";
import { outcomeWords, startPicker } from "./picker.js";

export function startCreation({ api, store }) {
  const picker = startPicker({ store, list: $("founders"), empty: $("no-founders") });
  $("new-group").append(icon("people"));
  $("new-group").addEventListener("click", () => {
    $("create-dialog").showModal();
    picker.show();
  });
  $("create-dialog").addEventListener("close", () => $("create-form").reset());
  handle($("create-form"), create);

  async function create({ name, about }) {
    const draft = { name: name.trim(), about: about.trim(), invite: picker.chosen() };
    const { group, results } = await api.post("/groups", draft, { once: true });
    store.groups.keep(group);
    $("create-dialog").close();
    location.hash = String(group.id);
    const others = results.filter(({ outcome }) => outcome !== "invited");
    if (others.length > 0) toast(outcomeWords(store, others));
  }
}
