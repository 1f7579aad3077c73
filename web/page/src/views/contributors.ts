/** The contributors of the shown job, from its committed record. */
import type { Contributor } from "tequio";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { count, operations, short } from "../format.js";
import { locale, t } from "../i18n/index.js";
import { shownJob, type State } from "../state.js";
import type { View } from "./view.js";

/** The most rows that are drawn; the table counts the others. */
const ROWS_MAX = 50;
const COLUMNS = ["id", "units", "checks", "macs"] as const;

/** The table of contributors. */
export function contributorsView(): View {
  const title = h("h2", { id: "contributors-title" });
  const none = h("p", { class: "quiet-text" });
  const headings = COLUMNS.map((name) => ({ name, cell: h("th", { scope: "col" }) }));
  const body = h("tbody");
  const head = h("thead", {}, h("tr", {}, ...headings.map(({ cell }) => cell)));
  const table = h("table", { "data-testid": "contributors" }, head, body);
  // Long lists scroll, so the region needs keyboard focus.
  const region = h("div", { class: "scroll", role: "region", tabindex: 0 }, table);
  const element = h(
    "section",
    { class: "contributors", "aria-labelledby": "contributors-title" },
    title,
    none,
    region,
  );
  let drawn = "";
  return {
    element,
    reads: (state) => [state.node, state.record, shownJob(state)],
    update(state) {
      const { node } = state;
      const committed = state.record !== null && state.record.job === state.job;
      const contributors = listed(state);
      setText(title, t("contributors.title"));
      setText(none, t("contributors.none"));
      setVisible(none, !committed);
      setVisible(element, contributors.length > 0);
      setAttribute(region, "aria-label", t("contributors.list"));
      for (const { name, cell } of headings) setText(cell, t(`contributors.${name}`));
      const inputs = `${locale()} ${node} ${JSON.stringify(contributors)}`;
      if (inputs === drawn) return;
      drawn = inputs;
      const sorted = [...contributors].sort((a, b) => b.units - a.units);
      const rows = sorted.slice(0, ROWS_MAX).map((one) => row(one, node));
      const more = sorted.length - ROWS_MAX;
      if (more > 0) rows.push(h("tr", {}, h("td", { colspan: 4 }, `+ ${count(more)}`)));
      body.replaceChildren(...rows);
    },
  };
}

/** The contributors of the committed record, or the coordinator's count until it is committed. */
function listed(state: State): readonly Contributor[] {
  if (state.record !== null && state.record.job === state.job) return state.record.contributors;
  return shownJob(state)?.contributors ?? [];
}

function row({ id, units, checks, macs }: Contributor, node: string | null): HTMLTableRowElement {
  const you = id === node && h("em", {}, t("contributors.you"));
  return h(
    "tr",
    { "data-id": id, "data-me": id === node },
    h("th", { scope: "row", title: id }, h("code", {}, short(id)), you),
    h("td", {}, count(units)),
    h("td", {}, count(checks)),
    h("td", {}, operations(macs)),
  );
}
