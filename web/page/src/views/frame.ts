/** Header and footer: name, language, colours; and whom the person trusts for what. */
import type { Context, View } from "../app.js";
import { h, say, set, svg } from "../dom.js";
import { chooseLanguage, language, t } from "../i18n/index.js";
import { theme, turnTheme } from "../theme.js";
import { short } from "../format.js";
import { greca } from "./greca.js";

export function headerView({ store }: Context): View {
  const languageButton = h("button", {
    class: "quiet",
    "data-testid": "language",
    onclick: () => {
      chooseLanguage(language() === "en" ? "es" : "en");
      store.refresh();
    },
  });
  const themeButton = h(
    "button",
    {
      class: "quiet icon",
      "data-testid": "theme",
      onclick: () => {
        turnTheme();
        store.refresh();
      },
    },
    svg("svg", { viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" }, svg("circle", { cx: 10, cy: 10, r: 7.5, class: "ring" }), svg("path", { d: "M10 2.5a7.5 7.5 0 0 1 0 15z", class: "half" })),
  );
  const mark = h("p", { class: "wordmark" }, greca(2), h("span", {}, "Tequio"));
  return {
    element: h("header", { class: "top" }, mark, h("div", { class: "choices" }, languageButton, themeButton)),
    update() {
      set(document.documentElement, "lang", language());
      say(languageButton, t("language"));
      set(languageButton, "lang", language() === "en" ? "es" : "en");
      set(languageButton, "aria-label", t("language.label"));
      const label = t("theme.label", { theme: t(`theme.${theme()}`) });
      set(themeButton, "aria-label", label);
      set(themeButton, "title", label);
    },
  };
}

export function footerView({ place }: Context): View {
  const title = h("h2");
  const code = h("p", { "data-testid": "code-origin" });
  const data = h("p");
  const label = h("span");
  const hash = h("code", { "data-testid": "checkpoint" });
  const meaning = h("p", { class: "meaning" });
  return {
    element: h("footer", {}, h("div", { class: "band" }, greca(40)), h("section", { class: "trust" }, title, code, data, h("p", {}, label, " ", hash)), meaning),
    update() {
      say(title, t("trust.title"));
      say(code, t("trust.code", { origin: location.origin }));
      say(data, t("trust.data"));
      say(label, t("trust.checkpoint"));
      say(hash, place.checkpoint === null ? t("trust.noCheckpoint") : short(place.checkpoint.hash));
      set(hash, "title", place.checkpoint?.hash);
      say(meaning, t("meaning"));
    },
  };
}
