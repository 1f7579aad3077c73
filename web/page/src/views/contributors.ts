/** Who did what for the shown job, from its committed record. */
import type { View } from "../app.js";
import { h, say, show } from "../dom.js";
import { count, operations, short } from "../format.js";
import { language, t } from "../i18n/index.js";
import { shownJob } from "../state.js";

/** Rows that are drawn; the rest is counted. */
const ROWS_MAX = 50;

export function contributorsView(): View {
  const title = h("h2", { id: "contributors-title" });
  const none = h("p", { class: "quiet-text" });
  const headings = [h("th", { scope: "col" }), h("th", { scope: "col" }), h("th", { scope: "col" }), h("th", { scope: "col" })] as const;
  const body = h("tbody");
  const table = h("table", { "data-testid": "contributors" }, h("thead", {}, h("tr", {}, ...headings)), body);
  let drawn = "";
  return {
    element: h("section", { class: "contributors", "aria-labelledby": "contributors-title" }, title, none, h("div", { class: "scroll" }, table)),
    update(state) {
      const { node } = state;
      // The record is the proof; until it is committed, the coordinator's word is better than nothing.
      const contributors = state.contributors.length > 0 ? state.contributors : (shownJob(state)?.contributors ?? []);
      say(title, t("contributors.title"));
      say(none, t("contributors.none"));
      show(none, state.contributors.length === 0);
      show(table, contributors.length > 0);
      (["id", "units", "checks", "macs"] as const).forEach((name, index) => {
        const heading = headings[index];
        if (heading) say(heading, t(`contributors.${name}`));
      });
      const wanted = `${language()} ${node} ${JSON.stringify(contributors)}`;
      if (wanted === drawn) return;
      drawn = wanted;
      const sorted = [...contributors].sort((a, b) => b.units - a.units);
      body.replaceChildren(
        ...sorted.slice(0, ROWS_MAX).map(({ id, units, checks, macs }) =>
          h(
            "tr",
            { "data-id": id, "data-me": id === node },
            h("th", { scope: "row", title: id }, h("code", {}, short(id)), id === node && h("em", {}, t("contributors.you"))),
            h("td", {}, count(units)),
            h("td", {}, count(checks)),
            h("td", {}, operations(macs)),
          ),
        ),
        ...(sorted.length > ROWS_MAX ? [h("tr", {}, h("td", { colspan: 4 }, `+ ${count(sorted.length - ROWS_MAX)}`))] : []),
      );
    },
  };
}
