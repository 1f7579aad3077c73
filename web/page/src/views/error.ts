/** The one place where what stopped the page is said, with what to do about it. */
import type { View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { isMessage, t } from "../i18n/index.js";

export function errorView(): View {
  const title = h("strong");
  const text = h("span");
  const code = h("code");
  const element = h("div", { class: "error", role: "alert", "data-testid": "error", hidden: true }, title, text, code);
  return {
    element,
    update({ error }) {
      show(element, error !== null);
      set(element, "data-code", error?.code);
      if (error === null) return;
      say(title, t("error.title"));
      const key = `error.${error.code}`;
      say(text, isMessage(key) ? t(key, { origin: location.origin }) : error.message);
      say(code, error.code);
    },
  };
}
