/** Puts the parts together: who is signed in here, the connection, the store, the views. */

import { Api, fullJitter, isTransient, Problem, sleep } from "./api.js";
import { startChat } from "./chat.js";
import { showConnection } from "./connection.js";
import { startCreation } from "./creation.js";
import { $, toast } from "./dom.js";
import { startGroup } from "./group.js";
import { startInvitations } from "./invitations.js";
import { startJoining } from "./joining.js";
import { leftWords } from "./notices.js";
import { Outbox } from "./outbox.js";
import { Realtime } from "./realtime.js";
import { session } from "./session.js";
import { startSettings } from "./settings.js";
import { startSidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { showWelcome, startWelcome } from "./welcome.js";

const api = new Api(session);
const store = new Store(api, session);

const realtime = new Realtime({
  load: () => store.load(),
  ticket: async () => (await api.post("/ws/ticket")).ticket,
  onEvent: (frame) => {
    store.apply(frame);
    if (frame.event === "message.created" && frame.data.sender_id === store.me.id) outbox.settle(frame.data.client_id);
  },
  onSignal: (frame) => store.signal(frame),
  onCaughtUp: () => {
    outbox.wake();
    loadStatuses();
  },
  onState: (state) => {
    if (state.name !== "live") store.forgetTyping();
    if (state.reason === "signed_out") leave("This device was signed out.");
    else showConnection(state, realtime);
    chat?.onConnection(state);
  },
});

const outbox = new Outbox({
  realtime,
  api,
  session,
  onChange: () => store.changed("thread"),
  onSent: (message) => {
    store.takeMessage(message);
    // Sent over HTTP: the server is there again, and nobody needs to wait for a socket any longer.
    if (!realtime.ready) realtime.nudge();
  },
  onSlow: (id, until) => store.groups.slowDown(id, until),
});

const context = { api, store, realtime, outbox, session, signOut };
api.onSignedOut = () => leave("This device was signed out.");

store.onLeft = (group, notice) => {
  groupPage.onLeft(group);
  chat.onLeft(group);
  toast(leftWords(group, notice, store.me.id));
};

const groupPage = startGroup(context);
const chat = startChat({ ...context, onAbout: groupPage.open });
startSidebar(context);
startInvitations(context);
startCreation(context);
startJoining(context);
startSettings(context);
startWelcome(api, (answer) => {
  session.begin(answer);
  enter();
});

function enter() {
  $("welcome").hidden = true;
  $("app").hidden = false;
  realtime.start();
  outbox.resume();
}

/** Load the contacts' statuses, with retries until the connection changes, which loads them anyway. */
async function loadStatuses(failures = 0) {
  const { state } = realtime;
  try {
    await store.loadStatuses();
  } catch (error) {
    if (!isTransient(error)) return;
    if (!(error instanceof Problem)) realtime.nudge();
    await sleep((error.retryAfter ?? 0) * 1000 + fullJitter(failures));
    if (realtime.state === state) loadStatuses(failures + 1);
  }
}

/** The session is over: nothing of it stays in this tab. */
function leave(notice = "") {
  if (!session.signedIn) return;
  session.end();
  realtime.stop();
  outbox.clear();
  store.clear();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  history.replaceState(null, "", location.pathname);
  chat.close();
  $("app").hidden = true;
  showWelcome(notice);
}

async function signOut() {
  // Where the server can't be reached the tokens are forgotten all the same; the device can be removed from another.
  await api.post("/logout").catch(() => {});
  leave();
}

// A page that was hidden, or a computer that slept, has timers that stood still and a socket that may be dead.
addEventListener("online", () => realtime.nudge());
addEventListener("offline", () => realtime.nudge());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  store.expiry.check();
  realtime.nudge();
});
addEventListener("focus", () => store.expiry.check());

if (session.signedIn) enter();
else showWelcome();
