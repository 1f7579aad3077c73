/**
 * The form for models whose input is not a digit: a field for each column, with the column's name
 * and usual range. Without columns, or with very many, one field takes the whole row.
 */
import type { Prediction } from "tequio";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { measure } from "../format.js";
import { t } from "../i18n/index.js";
import { parseNumber, parseRow } from "../numbers.js";
import type { ColumnFacts, ModelFacts } from "../state.js";

/** The most columns with a field each; models with more columns take a row. */
const FIELDS_MAX = 64;

/** The form for a row of numbers. */
export function valuesView(
  predict: (row: number[]) => Prediction | null,
  answered: (prediction: Prediction | null) => void,
) {
  const lead = h("p", { class: "columns-lead" });
  const fields = h("div", { class: "columns" });
  const label = h("label", { for: "values" });
  const field = h("textarea", {
    id: "values",
    rows: 3,
    spellcheck: "false",
    autocomplete: "off",
    "data-testid": "values",
  });
  const complaint = h("p", { class: "notice", role: "status", id: "values-bad", hidden: true });
  const ask = h("button", { class: "primary", type: "submit", "data-testid": "ask" });
  const form = h("form", { class: "values", novalidate: true, hidden: true });
  form.append(lead, fields, label, field, complaint, ask);
  let model: ModelFacts | null = null;
  let made = "";
  let inputs: { column: ColumnFacts; input: HTMLInputElement; hint: HTMLElement }[] = [];

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const row = inputs.length > 0 ? readFields() : readRow();
    setVisible(complaint, row === null);
    answered(row === null ? null : predict(row));
  });

  /** The numbers of the fields, or null with a notice about the first invalid field. */
  function readFields(): number[] | null {
    const numbers = inputs.map(({ input }) => parseNumber(input.value));
    numbers.forEach((number, index) => mark(inputs[index]?.input, number === null));
    const bad = inputs[numbers.indexOf(null)];
    if (bad === undefined) return numbers.filter((number) => number !== null);
    setText(complaint, t("draw.valueBad", { column: bad.column.name }));
    bad.input.focus();
    return null;
  }

  function readRow(): number[] | null {
    const features = model?.features ?? 0;
    const numbers = parseRow(field.value, features);
    const good = numbers.length === features;
    mark(field, !good);
    setText(complaint, good ? "" : t("draw.valuesBad", { features, given: numbers.length }));
    if (!good) field.focus();
    return good ? numbers : null;
  }

  function mark(input: HTMLElement | undefined, bad: boolean): void {
    if (input === undefined) return;
    setAttribute(input, "aria-invalid", bad ? "true" : null);
  }

  function build({ cid, columns, features }: ModelFacts): void {
    if (made === cid) return;
    made = cid;
    const known = columns.length === features && features <= FIELDS_MAX;
    inputs = (known ? columns : []).map((column, index) => fieldOf(column, index));
    fields.replaceChildren(
      ...inputs.map(({ column, input, hint }) =>
        h("p", { class: "column-field" }, h("label", { for: input.id }, column.name), input, hint),
      ),
    );
    setVisible(complaint, false);
  }

  return {
    element: form,
    update(next: ModelFacts | null) {
      model = next;
      setVisible(form, next !== null);
      if (next === null) return;
      build(next);
      const byField = inputs.length > 0;
      setText(lead, t("draw.columns", { name: next.name }));
      for (const { column, hint } of inputs) setText(hint, rangeText(column));
      setText(label, t("draw.values", { features: next.features }));
      setVisible(lead, byField);
      setVisible(fields, byField);
      setVisible(label, !byField);
      setVisible(field, !byField);
      setText(ask, t("draw.ask"));
    },
  };
}

function fieldOf(column: ColumnFacts, index: number) {
  const id = `column-${index}`;
  const hint = h("small", { id: `${id}-hint` });
  const input = h("input", {
    id,
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    "aria-describedby": `${id}-hint`,
    "data-testid": "column",
  });
  return { column, input, hint };
}

/** The range of two deviations around the mean, which holds nearly all of the training rows. */
function rangeText({ mean, deviation }: ColumnFacts): string {
  const [low, high] = [mean - 2 * deviation, mean + 2 * deviation].map(measure);
  return t("draw.range", { low: low ?? "", high: high ?? "" });
}
