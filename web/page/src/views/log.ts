/** What happened, newest first: refused results, lies with the peer's name, changes of path. */
import type { View } from "../app.js";
import { h, say, show } from "../dom.js";
import { clock, short } from "../format.js";
import { isMessage, language, t } from "../i18n/index.js";
import type { LogLine } from "../state.js";

/** Values that are identifiers, and are shortened. */
const IDS = new Set(["peer", "worker", "via", "node"]);

export function logView(): View {
  const title = h("h2", { id: "log-title" });
  const none = h("p", { class: "quiet-text" });
  const list = h("ol", { role: "log", "aria-live": "polite", "aria-labelledby": "log-title", tabindex: 0, "data-testid": "log" });
  let newest = 0;
  let spoken = language();
  return {
    element: h("section", { class: "log", "aria-labelledby": "log-title" }, title, none, list),
    update({ log }) {
      say(title, t("log.title"));
      say(none, t("log.none"));
      show(none, log.length === 0);
      show(list, log.length > 0);
      if (spoken !== language()) {
        spoken = language();
        newest = 0;
        list.replaceChildren();
      }
      for (const line of log) {
        if (line.id <= newest) continue;
        newest = line.id;
        list.prepend(item(line));
      }
      while (list.childElementCount > log.length) list.lastElementChild?.remove();
    },
  };
}

function item({ atMs, tone, key, values }: LogLine): HTMLLIElement {
  const shown = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, present(name, value)]));
  const full = Object.entries(values).filter(([name]) => IDS.has(name)).map(([, value]) => value).join(" ");
  const text = isMessage(key) ? t(key, shown) : key;
  return h("li", { "data-tone": tone, "data-kind": key, title: full || null }, h("time", { datetime: new Date(atMs).toISOString() }, clock(atMs)), h("span", {}, text));
}

function present(name: string, value: string | number): string | number {
  if (typeof value === "number") return value;
  if (IDS.has(name)) return short(value);
  const key = `lie.${value}`;
  return name === "what" && isMessage(key) ? t(key) : value;
}
