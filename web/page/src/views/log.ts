/**
 * The log, newest first. It is no live region: the announcer reports the lines that need attention.
 * Technical notes, in English, have a list of their own.
 */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { clock, count, short } from "../format.js";
import { locale, t, tMaybe } from "../i18n/index.js";
import type { LogLine } from "../log.js";
import type { AppContext, View } from "./view.js";

/** Values that are identifiers, which are shortened. */
const IDS = new Set(["peer", "worker", "via", "node"]);
const TRANSPORTS: Record<string, string> = { webrtc: "WebRTC", websocket: "WebSocket" };
/** Patterns that translate a reason of the network, tried in this order. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/in time/, "reason.time"],
  [/product/, "reason.product"],
  [/opened/, "reason.opening"],
  [/state/, "reason.state"],
  [/form/, "reason.malformed"],
  [/delta/, "reason.delta"],
  [/step/, "reason.step"],
];

/** The log and the technical notes. */
export function logView({ announcer }: AppContext): View {
  const title = h("h2", { id: "log-title" });
  const none = h("p", { class: "quiet-text" });
  const list = h("ol", { "aria-labelledby": "log-title", tabindex: 0, "data-testid": "log" });
  const summary = h("summary");
  const technical = h("ol", { lang: "en", tabindex: 0, "data-testid": "log-technical" });
  const details = h("details", {}, summary, technical);
  const items = new Map<number, { item: HTMLLIElement; drawn: string }>();
  let announcedId = 0;

  function draw(target: HTMLElement, lines: readonly LogLine[]): void {
    const ordered = lines.toReversed().map((line) => itemOf(line));
    ordered.forEach((item, index) => {
      const at = target.children[index];
      if (at !== item) target.insertBefore(item, at ?? null);
    });
    while (target.childElementCount > ordered.length) target.lastElementChild?.remove();
  }

  function itemOf(line: LogLine): HTMLLIElement {
    const drawn = `${locale()} ${line.count} ${line.lastMs} ${line.key}`;
    const known = items.get(line.id);
    if (known?.drawn === drawn) return known.item;
    const item = known?.item ?? h("li");
    fill(item, line);
    items.set(line.id, { item, drawn });
    return item;
  }

  return {
    element: h(
      "section",
      { class: "log", "aria-labelledby": "log-title" },
      title,
      none,
      list,
      details,
    ),
    reads: ({ log }) => [log],
    update({ log }) {
      const people = log.filter(({ key }) => key !== "log.line");
      const notes = log.filter(({ key }) => key === "log.line");
      setText(title, t("log.title"));
      setText(none, t("log.none"));
      setText(summary, t("log.technical"));
      setAttribute(technical, "aria-label", t("log.technical"));
      setVisible(none, people.length === 0);
      setVisible(list, people.length > 0);
      setVisible(details, notes.length > 0);
      draw(list, people);
      draw(technical, notes);
      for (const id of items.keys()) if (!log.some((line) => line.id === id)) items.delete(id);
      const news = people.findLast(({ id, tone }) => id > announcedId && tone !== "plain");
      if (news !== undefined && (news.tone === "bad" || news.tone === "warn")) {
        announcedId = news.id;
        announcer.announce("log", textOf(news));
      }
    },
  };
}

function fill(item: HTMLLIElement, line: LogLine): void {
  const { firstMs, lastMs, count: times, tone, key } = line;
  const time = h("time", { datetime: new Date(lastMs).toISOString() }, clock(lastMs));
  const text = h("span", {}, textOf(line));
  const again = t("log.times", { count: count(times), time: clock(firstMs) });
  const repeats = times > 1 && h("small", { class: "times" }, again);
  item.replaceChildren(time, h("div", {}, text, repeats || ""));
  setAttribute(item, "data-tone", tone);
  setAttribute(item, "data-kind", key);
  setAttribute(item, "data-count", times);
  setAttribute(item, "title", idsOf(line) || null);
}

function textOf({ key, values }: LogLine): string {
  const shown = Object.entries(values).map(([name, value]) => [name, present(name, value)]);
  return tMaybe(key, Object.fromEntries(shown)) ?? key;
}

function idsOf({ values }: LogLine): string {
  const ids = Object.entries(values).filter(([name]) => IDS.has(name));
  return ids.map(([, value]) => value).join(" ");
}

function present(name: string, value: string | number): string | number {
  if (typeof value === "number") return count(value);
  if (IDS.has(name)) return short(value);
  if (name === "what") return tMaybe(`invalid.${value}`) ?? value;
  if (name === "transport") return TRANSPORTS[value] ?? value;
  if (name === "reason") return reasonText(value);
  return value;
}

function reasonText(reason: string): string {
  const key = REASONS.find(([words]) => words.test(reason))?.[1] ?? "reason.other";
  return tMaybe(key, { reason }) ?? reason;
}
