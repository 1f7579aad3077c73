/** For models of other shapes than the digits': a row typed in as numbers. */
import type { Prediction } from "tequio";
import { h, say, set, show } from "../dom.js";
import { t } from "../i18n/index.js";
import type { ModelFacts } from "../state.js";

export function valuesView(predict: (row: number[]) => Prediction | null, answered: (prediction: Prediction | null) => void) {
  const label = h("label", { for: "values" });
  const field = h("textarea", { id: "values", rows: 3, spellcheck: "false", autocomplete: "off", "data-testid": "values" });
  const complaint = h("p", { class: "notice", role: "status", hidden: true });
  const ask = h("button", { class: "primary", type: "submit", "data-testid": "ask" });
  let features = 0;
  const form = h("form", { class: "values", hidden: true }, label, field, complaint, ask);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const row = field.value.split(/[\s,;]+/).filter((part) => part !== "").map(Number);
    const given = row.filter(Number.isFinite).length;
    const good = row.length === features && given === features;
    show(complaint, !good);
    set(field, "aria-invalid", good ? null : "true");
    say(complaint, good ? "" : t("draw.valuesBad", { features, given }));
    answered(good ? predict(row) : null);
  });
  return {
    element: form,
    update(model: ModelFacts | null) {
      show(form, model !== null);
      if (model === null) return;
      features = model.features;
      say(label, t("draw.values", { features }));
      say(ask, t("draw.ask"));
    },
  };
}
