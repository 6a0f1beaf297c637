// The API key: kept in the tab's sessionStorage, so that it ends with the last tab and is sent nowhere but to this server.
// A new tab asks the others of this server for it (BroadcastChannel reaches pages of this origin only), so that a person
// types it once.

const NAME = "trunkline-key";
/** How long a new tab waits for another's answer. */
const WAIT_MS = 100;

const tabs = new BroadcastChannel(NAME);
let waiting = null;

/** Told when another tab was given a key or forgot it. */
export const keyChanged = new EventTarget();

tabs.addEventListener("message", ({ data }) => {
  if (data.ask) {
    if (key.get()) tabs.postMessage({ key: key.get() });
    return;
  }
  if (data.key) sessionStorage.setItem(NAME, data.key);
  else sessionStorage.removeItem(NAME);
  if (waiting) waiting();
  else keyChanged.dispatchEvent(new Event("changed"));
});

export const key = {
  get: () => sessionStorage.getItem(NAME),
  set(value) {
    sessionStorage.setItem(NAME, value);
    tabs.postMessage({ key: value });
  },
  forget() {
    sessionStorage.removeItem(NAME);
    tabs.postMessage({ key: null });
  },
  /** Resolves when this tab has the key of the others, or when there is none to have. */
  shared() {
    if (key.get()) return Promise.resolve();
    return new Promise((resolve) => {
      waiting = () => {
        waiting = null;
        resolve();
      };
      setTimeout(() => waiting?.(), WAIT_MS);
      tabs.postMessage({ ask: true });
    });
  },
};
