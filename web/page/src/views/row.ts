/** A row of a description list: a term and its value. */
import { h, say } from "../dom.js";

export function row(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, term, value),
    value,
    update(label: string, text: string) {
      say(term, label);
      say(value, text);
    },
  };
}
