/** Header and footer: name, language, colours, what the person trusts, and links. */
import { h, setAttribute, setText, setVisible, svg } from "../dom.js";
import { short } from "../format.js";
import { chooseLanguage, language, t } from "../i18n/index.js";
import { theme, cycleTheme } from "../theme.js";
import { ornament } from "./ornament.js";
import type { AppContext, View } from "./view.js";

const REPOSITORY_URL = "https://github.com/tequio/tequio";

/** The header: the name, and the buttons for language and colours. */
export function headerView({ store }: AppContext): View {
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
        cycleTheme();
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
  const mark = h("p", { class: "wordmark" }, ornament(2), h("span", {}, "Tequio"));
  const choices = h("div", { class: "choices" }, languageButton, themeButton);
  return {
    element: h("header", { class: "top" }, mark, choices),
    reads: () => [],
    update() {
      setAttribute(document.documentElement, "lang", language());
      setText(languageButton, t("language"));
      setAttribute(languageButton, "lang", language() === "en" ? "es" : "en");
      setAttribute(languageButton, "aria-label", t("language.label"));
      const label = t("theme.label", { theme: t(`theme.${theme()}`) });
      setAttribute(themeButton, "aria-label", label);
      setAttribute(themeButton, "title", label);
    },
  };
}

/** The footer: what the person trusts, the operator, and links. */
export function footerView({ launchParams }: AppContext): View {
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
      h("div", { class: "band" }, ornament(40)),
      h("section", { class: "trust" }, title, code, data, h("p", {}, label, " ", hash)),
      operator.element,
      links.element,
      meaning,
    ),
    reads: (state) => [state.operator],
    update(state) {
      setText(title, t("trust.title"));
      setText(code, t("trust.code", { origin: location.origin }));
      setText(data, t("trust.data"));
      setText(label, t("trust.checkpoint"));
      setText(
        hash,
        launchParams.checkpoint === null
          ? t("trust.noCheckpoint")
          : short(launchParams.checkpoint.hash),
      );
      setAttribute(hash, "title", launchParams.checkpoint?.hash);
      operator.update(state.operator);
      links.update();
      setText(meaning, t("meaning"));
    },
  };
}

/** The operator named by the relay; hidden without one. */
function operatorView() {
  const words = h("span");
  const name = h("span");
  const link = h("a", { rel: "noreferrer" });
  const element = h("p", { "data-testid": "operator" }, words, " ", link, name);
  return {
    element,
    update(operator: { name: string | null; url: string | null } | null) {
      setVisible(element, operator !== null);
      if (operator === null) return;
      const text = operator.name ?? operator.url ?? "";
      setText(words, t("trust.operator"));
      setText(link, text);
      setText(name, text);
      setAttribute(link, "href", operator.url);
      setVisible(link, operator.url !== null);
      setVisible(name, operator.url === null);
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
      setAttribute(element, "aria-label", t("links.label"));
      for (const { key, link } of links) setText(link, t(key));
    },
  };
}
