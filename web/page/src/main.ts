/** The page's entry. */
import "./style/base.css";
import "./style/parts.css";
import "./style/board.css";
import { browserDevice } from "tequio";
import { mount } from "./app.js";
import { readPlace } from "./place.js";
import { Session } from "./session.js";
import { Store } from "./store.js";
import { startTheme } from "./theme.js";

const store = new Store();
const place = readPlace(location.href);
startTheme(() => store.refresh());
// Said before anybody tries: on such an origin joining can only fail.
if (!isSecureContext) store.update((state) => ({ ...state, error: { code: "INSECURE_ORIGIN", message: location.origin } }));
const root = document.getElementById("app");
if (root) mount(root, { store, actions: new Session(store, place), place, device: browserDevice() });
// A new fragment is another network: start afresh rather than mix two.
addEventListener("hashchange", () => location.reload());
// Ages grow although nothing happens.
setInterval(() => store.refresh(), 1_000);
