/** Header and footer: name, language, colours; whom the person trusts for what; and links. */
import type { Context, View } from "../app.js";
import { h, say, set, show, svg } from "../dom.js";
import { short } from "../format.js";
import { chooseLanguage, language, t } from "../i18n/index.js";
import { theme, turnTheme } from "../theme.js";
import { greca } from "./greca.js";

const REPOSITORY_URL = "https://github.com/tequio/tequio";

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
    svg(
      "svg",
      { viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" },
      svg("circle", { cx: 10, cy: 10, r: 7.5, class: "ring" }),
      svg("path", { d: "M10 2.5a7.5 7.5 0 0 1 0 15z", class: "half" }),
    ),
  );
  const mark = h("p", { class: "wordmark" }, greca(2), h("span", {}, "Tequio"));
  const choices = h("div", { class: "choices" }, languageButton, themeButton);
  return {
    element: h("header", { class: "top" }, mark, choices),
    reads: () => [],
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
  const operator = operatorView();
  const meaning = h("p", { class: "meaning" });
  const links = linksView();
  return {
    element: h(
      "footer",
      {},
      h("div", { class: "band" }, greca(40)),
      h("section", { class: "trust" }, title, code, data, h("p", {}, label, " ", hash)),
      operator.element,
      links.element,
      meaning,
    ),
    reads: (state) => [state.operator],
    update(state) {
      say(title, t("trust.title"));
      say(code, t("trust.code", { origin: location.origin }));
      say(data, t("trust.data"));
      say(label, t("trust.checkpoint"));
      say(hash, place.checkpoint === null ? t("trust.noCheckpoint") : short(place.checkpoint.hash));
      set(hash, "title", place.checkpoint?.hash);
      operator.update(state.operator);
      links.update();
      say(meaning, t("meaning"));
    },
  };
}

/** The operator as the relay names it; hidden where it names none. */
function operatorView() {
  const words = h("span");
  const name = h("span");
  const link = h("a", { rel: "noreferrer" });
  const element = h("p", { "data-testid": "operator" }, words, " ", link, name);
  return {
    element,
    update(operator: { name: string | null; url: string | null } | null) {
      show(element, operator !== null);
      if (operator === null) return;
      const text = operator.name ?? operator.url ?? "";
      say(words, t("trust.operator"));
      say(link, text);
      say(name, text);
      set(link, "href", operator.url);
      show(link, operator.url !== null);
      show(name, operator.url === null);
    },
  };
}

function linksView() {
  const targets = [
    ["links.source", REPOSITORY_URL],
    ["links.docs", `${REPOSITORY_URL}/blob/main/docs/ARCHITECTURE.md`],
    ["links.licence", `${REPOSITORY_URL}/blob/main/LICENSE-MIT`],
  ] as const;
  const links = targets.map(([key, href]) => ({ key, link: h("a", { href, rel: "noreferrer" }) }));
  const list = h("ul", {}, ...links.map(({ link }) => h("li", {}, link)));
  const element = h("nav", { class: "links", "data-testid": "links" }, list);
  return {
    element,
    update() {
      set(element, "aria-label", t("links.label"));
      for (const { key, link } of links) say(link, t(key));
    },
  };
}
