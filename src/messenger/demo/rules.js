/** Name, description and picture of a group; its permissions and settings. */

import { $, el, toast } from "./dom.js";
import { fill, PAUSES } from "./durations.js";
import { handle } from "./forms.js";
import { counted } from "./names.js";
import { PERMISSION_WORDS } from "./notices.js";
import { RANKS } from "./ranks.js";
import { words } from "./refusals.js";

const FROM = { member: "All members", moderator: "Moderators and up", admin: "Admins and up", owner: "The owner" };
const SETTINGS = {
  slow_mode: ["Slow mode", PAUSES],
  history: ["New members see", [["none", "No earlier messages"], ["recent", "The last 100"], ["all", "All messages"]]],
  notices: ["Notices in the chat", [["all", "All"], ["important", "Without joining and leaving"], ["none", "None"]]],
  members_visible: ["Who sees the members", [["members", "All members"], ["moderators", "Moderators and above"]]],
};

export function startRules({ api, store, group }) {
  for (const [name, text] of Object.entries(PERMISSION_WORDS)) {
    $("permissions").append(choice(name, `Who may ${text}`, RANKS.map((rank) => [rank, FROM[rank]])));
  }
  for (const [name, [text, choices]] of Object.entries(SETTINGS)) $("rules").append(choice(name, text, choices));
  const profile = startForm($("group-profile-form"), () => group(), (values) => values);
  const rules = startForm($("rules-form"), () => ({ ...group().permissions, ...group().settings }), patchOf);
  store.on(["groups"], () => {
    if (!group()) return;
    profile.refresh();
    rules.refresh();
  });
  $("group-picture").addEventListener("click", () => $("group-picture-file").click());
  $("group-picture-file").addEventListener("change", upload);
  $("group-picture-remove").addEventListener("click", () => attempt(() => api.delete(`/groups/${group().id}/avatar`)));

  /** A form that sends what was changed in it alone: what others change meanwhile stays. */
  function startForm(form, current, toPatch) {
    let filled = {};
    const fields = () => [...form.elements].filter(({ name }) => name);

    function show(always) {
      for (const field of fields()) {
        const value = String(current()[field.name]);
        if (!always && field.value !== filled[field.name]) continue;
        if (field.name === "slow_mode" && ![...field.options].some((option) => option.value === value)) {
          field.append(el("option", { value, text: counted(Number(value), "second") }));
        }
        field.value = filled[field.name] = value;
      }
    }

    handle(form, async (values) => {
      const changed = Object.entries(values).filter(([name, value]) => value !== filled[name]);
      if (changed.length > 0) {
        store.groups.keep(await api.patch(`/groups/${group().id}`, toPatch(Object.fromEntries(changed))));
        show(true);
      }
      toast("Saved");
    });
    return { open: () => show(true), refresh: () => show(false) };
  }

  async function upload() {
    const [file] = $("group-picture-file").files;
    $("group-picture-file").value = "";
    if (file) await attempt(() => api.upload(`/groups/${group().id}/avatar`, file));
  }

  return { profile, rules };
}

function choice(name, text, choices) {
  const select = el("select", { name });
  fill(select, choices);
  return el("label", { class: "field" }, el("span", { text }), select);
}

function patchOf(changed) {
  const patch = {};
  for (const [name, value] of Object.entries(changed)) {
    const part = name in PERMISSION_WORDS ? "permissions" : "settings";
    patch[part] = { ...patch[part], [name]: name === "slow_mode" ? Number(value) : value };
  }
  return patch;
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    toast(words(error), "error");
  }
}
