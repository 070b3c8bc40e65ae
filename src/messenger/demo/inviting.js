/** The section of a group's page in which contacts are invited. */

import { $, setText } from "./dom.js";
import { handle } from "./forms.js";
import { outcomeWords, startPicker } from "./picker.js";

export function startInviting({ api, store, group }) {
  const isMember = (id) => Boolean(store.groups.members.get(group()?.id)?.has(id));
  const picker = startPicker({ store, list: $("invitees"), empty: $("no-invitees"), leaveOut: isMember });
  handle($("invite-form"), invite);

  function open() {
    setText($("invite-outcome"), "");
    picker.show();
  }

  async function invite({ message }) {
    const chosen = picker.chosen();
    if (chosen.length === 0) {
      setText($("invite-outcome"), "Choose somebody first.");
      return;
    }
    const draft = { user_ids: chosen, message: message.trim() || null };
    const { results } = await api.post(`/groups/${group().id}/invitations`, draft);
    setText($("invite-outcome"), outcomeWords(store, results));
    $("invite-form").reset();
  }

  return { open };
}
