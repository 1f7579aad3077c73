/** The one place for what stopped the page: the cause, what to do, and the technical details. */
import type { View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { t, tMaybe } from "../i18n/index.js";
import type { ErrorFacts } from "../state.js";

export function errorView(): View {
  const title = h("strong");
  const text = h("span", { class: "error-text" });
  const summary = h("summary");
  const code = h("code");
  // The package's own text names addresses and causes; it is English in every language.
  const message = h("span", { lang: "en", "data-testid": "error-message" });
  const details = h("details", {}, summary, h("p", {}, code, " ", message));
  const alert = h("div", { class: "error-cause", role: "alert" }, title, text);
  const element = h("div", { class: "error", "data-testid": "error", hidden: true }, alert, details);
  return {
    element,
    reads: ({ error }) => [error],
    update({ error }) {
      show(element, error !== null);
      set(element, "data-code", error?.code);
      if (error === null) return say(text, "");
      say(title, t("error.title"));
      say(text, errorText(error));
      say(summary, t("error.details"));
      say(code, error.code);
      say(message, error.message);
    },
  };
}

/** An error in the page's language: its cause, and what to do. */
export function errorText({ code }: ErrorFacts): string {
  return tMaybe(`error.${code}`, { origin: location.origin }) ?? t("error.other");
}
