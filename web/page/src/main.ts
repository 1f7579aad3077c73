/** The page's entry. */
import "./style/base.css";
import "./style/parts.css";
import "./style/board.css";
import { browserDevice } from "tequio";
import { mount } from "./app.js";
import { fetchOperator } from "./operator.js";
import { readPlace } from "./place.js";
import { readPreferences } from "./preferences.js";
import { Session, mayWatchByItself } from "./session.js";
import { Store } from "./store.js";
import { startTheme } from "./theme.js";

/** How often ages are drawn anew. */
const TICK_MS = 1_000;
/** A hidden page that computes nothing stays connected for so long. */
const HIDDEN_TIME_MS_MAX = 60_000;

const store = new Store();
const place = readPlace(location.href);
const device = browserDevice();
const preferences = readPreferences(device.phone);
startTheme(() => store.refresh());
store.update((state) => ({ ...state, preferences, nowMs: Date.now() }));
const root = document.getElementById("app");
if (root) {
  const session = new Session(store, place);
  // Before the first drawing, which then shows at once that the page connects.
  start(session);
  leaveWhileHidden(session);
  mount(root, { store, actions: session, place, device });
}
// A new fragment is another network: start afresh rather than mix two.
addEventListener("hashchange", () => location.reload());
setInterval(() => {
  if (!document.hidden) store.update((state) => ({ ...state, nowMs: Date.now() }));
}, TICK_MS);

/** Shows what is in training before anybody decides: the page looks by itself. */
function start(session: Session): void {
  // On such an origin connecting can only fail, and that is said at once.
  if (!isSecureContext) {
    const error = { code: "INSECURE_ORIGIN", message: location.origin };
    store.update((state) => ({ ...state, error }));
    return;
  }
  void fetchOperator(place.wellKnown).then((operator) => {
    store.update((state) => ({ ...state, operator }));
  });
  if (!mayWatchByItself()) return;
  whenVisible(() => void session.watch());
}

/** Runs `action` when the page is first visible: a tab in the background costs nothing. */
function whenVisible(action: () => void): void {
  if (!document.hidden) return action();
  document.addEventListener("visibilitychange", action, { once: true });
}

/** Ends the connection of a page that only looks and that nobody sees; it comes back when seen. */
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
