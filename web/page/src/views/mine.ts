/** What this device has done, as the ledger proves it. */
import type { View } from "../app.js";
import { h, say, set } from "../dom.js";
import { count, operations } from "../format.js";
import { t } from "../i18n/index.js";
import { shownJob } from "../state.js";

export function mineView(): View {
  const title = h("h2", { id: "mine-title" });
  const units = figure("my-units");
  const macs = figure("my-operations");
  const reputation = figure("my-reputation");
  const now = h("p", { class: "small", "data-testid": "my-work" });
  const note = h("p", { class: "small" });
  return {
    element: h("section", { class: "mine", "aria-labelledby": "mine-title" }, title, h("dl", { class: "figures" }, units.element, macs.element, reputation.element), now, note),
    update(state) {
      // The ledger's figure covers former visits, the events are ahead of it by some blocks, and the job knows its own.
      const accepted = Math.max(state.account?.units ?? 0, state.mine.units, shownJob(state)?.unitsByMe ?? 0);
      say(title, t("mine.title"));
      units.update(t("mine.units"), count(accepted));
      set(units.value, "data-units", accepted);
      const done = Math.max(state.account?.macs ?? 0, state.mine.macs);
      macs.update(t("mine.macs"), operations(done));
      set(macs.value, "data-operations", done);
      reputation.update(t("mine.reputation"), count(state.account?.reputation ?? 0));
      set(reputation.value, "data-reputation", state.account?.reputation ?? 0);
      say(now, [t("mine.busy", { count: count(state.mine.busy) }), t("mine.computed", { count: count(state.mine.computed) })].join(" · "));
      set(now, "data-computed", state.mine.computed);
      say(note, t("mine.note"));
    },
  };
}

function figure(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, value, term),
    value,
    update(label: string, text: string) {
      say(term, label);
      say(value, text);
    },
  };
}
