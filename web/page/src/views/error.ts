/** The page's error: the cause, what to do, and the technical details. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { age } from "../format.js";
import { isMessage, t, type MessageKey } from "../i18n/index.js";
import { isOffline, type ErrorFacts } from "../state.js";
import type { View } from "./view.js";

/** A smaller offset of the clock does not make a checkpoint too old. */
const CLOCK_OFFSET_MS_MIN = 3_600_000;
/** The messages that advise to reload the page. */
const RELOADS: ReadonlySet<MessageKey> = new Set([
  "error.STALE_CHECKPOINT.clock",
  "error.STORAGE",
  "error.WORKER",
  "error.INTERNAL",
  "error.other",
]);

/** The error, hidden without one. */
export function errorView(): View {
  const title = h("strong");
  const text = h("span", { class: "error-text" });
  const summary = h("summary");
  const code = h("code");
  // The package's own text names addresses and causes; it is English in every language.
  const message = h("span", { lang: "en", "data-testid": "error-message" });
  const details = h("details", {}, summary, h("p", {}, code, " ", message));
  const alert = h("div", { class: "error-cause", role: "alert" }, title, text);
  const element = h(
    "div",
    { class: "error", "data-testid": "error", hidden: true },
    alert,
    details,
  );
  return {
    element,
    reads: (state) => [state.error, isOffline(state)],
    update(state) {
      const { error } = state;
      const isNew = error !== null && element.hidden;
      setVisible(element, error !== null);
      setAttribute(element, "data-code", error?.code);
      if (error === null) return setText(text, "");
      setText(title, t("error.title"));
      setText(text, errorText(error, isOffline(state)));
      setText(summary, t("error.details"));
      setText(code, error.code);
      setText(message, error.message);
      // The action that failed may be far down the page.
      if (isNew) element.scrollIntoView({ block: "nearest" });
    },
  };
}

/**
 * An error in the page's language: its cause, and what to do. While the page is offline its server
 * may be dead too, and a reload would lose the page.
 */
export function errorText(error: ErrorFacts, offline: boolean): string {
  const { key, values } = messageOf(error);
  const text = t(key, values);
  return offline && RELOADS.has(key) ? `${text} ${t("error.reloadLater")}` : text;
}

function messageOf({ code, details = {} }: ErrorFacts): {
  key: MessageKey;
  values: Record<string, string | number>;
} {
  const offsetMs = Number(details["clockOffsetMs"] ?? 0);
  if (code === "STALE_CHECKPOINT" && Math.abs(offsetMs) >= CLOCK_OFFSET_MS_MIN) {
    const direction = t(offsetMs > 0 ? "error.clock.ahead" : "error.clock.behind");
    const values = { time: age(Math.abs(offsetMs)), direction };
    return { key: "error.STALE_CHECKPOINT.clock", values };
  }
  const key = `error.${code}`;
  const values = { origin: globalThis.location?.origin ?? "", ...details };
  return { key: isMessage(key) ? key : "error.other", values };
}
