/** Builds the rows of description lists. */
import { h, setText } from "../dom.js";

/** A row of a description list: a term and its value. */
export function row(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, term, value),
    value,
    update(label: string, text: string) {
      setText(term, label);
      setText(value, text);
    },
  };
}
