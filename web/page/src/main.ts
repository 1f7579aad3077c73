/** The page's entry. */
import "./style/base.css";
import "./style/parts.css";
import "./style/board.css";
import { browserDevice } from "tequio";
import { mount } from "./app.js";
import { fetchOperator } from "./operator.js";
import { readLaunchParams } from "./launch-params.js";
import { readPreferences } from "./preferences.js";
import { Session, mayAutoConnect } from "./session.js";
import { Store } from "./store.js";
import { startTheme } from "./theme.js";

/** Interval between two updates of the ages. */
const TICK_MS = 1_000;
/** How long a hidden page without a contribution stays connected. */
const HIDDEN_TIME_MS_MAX = 60_000;

const store = new Store();
const launchParams = readLaunchParams(location.href);
const device = browserDevice();
const preferences = readPreferences(device.phone);
startTheme(() => store.refresh());
store.update((state) => ({ ...state, preferences, nowMs: Date.now() }));
const root = document.getElementById("app");
if (root) {
  const session = new Session(store, launchParams);
  // Before `mount`, so that the first drawing shows that the page connects.
  start(session);
  leaveWhileHidden(session);
  mount(root, { store, actions: session, launchParams, device });
}
// A new fragment is another network: a reload avoids mixing the two.
addEventListener("hashchange", () => location.reload());
setInterval(() => {
  if (!document.hidden) store.update((state) => ({ ...state, nowMs: Date.now() }));
}, TICK_MS);

/** Connects without computing, so that the page shows the training before the person decides. */
function start(session: Session): void {
  // Without a secure context connecting always fails, so the error appears at once.
  if (!isSecureContext) {
    const error = { code: "INSECURE_ORIGIN", message: location.origin };
    store.update((state) => ({ ...state, error }));
    return;
  }
  void fetchOperator(launchParams.wellKnown).then((operator) => {
    store.update((state) => ({ ...state, operator }));
  });
  if (!mayAutoConnect()) return;
  whenVisible(() => void session.watch());
}

/** Runs `action` when the page is first visible, so that a background tab costs nothing. */
function whenVisible(action: () => void): void {
  if (!document.hidden) return action();
  document.addEventListener("visibilitychange", action, { once: true });
}

/** Disconnects a hidden page without a contribution, and connects again when it is visible. */
function leaveWhileHidden(session: Session): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let left = false;
  const leave = () => {
    const { phase, contribution } = store.state;
    left = phase === "connected" && !["running", "paused"].includes(contribution.state);
    if (left) void session.leave();
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(leave, HIDDEN_TIME_MS_MAX);
    else if (left) void session.watch();
    if (!document.hidden) left = false;
  });
}
