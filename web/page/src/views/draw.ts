/** The end of the line: a person draws, and the verified model answers with its confidences. */
import type { Prediction } from "tequio";
import type { Context, View } from "../app.js";
import { DIGIT_SIDE, toDigit } from "../digit.js";
import { h, say, set, show, svg } from "../dom.js";
import { percent, short } from "../format.js";
import { t } from "../i18n/index.js";
import { shownJob, type ModelFacts, type State } from "../state.js";
import { Board } from "./board.js";
import { valuesView } from "./values.js";

/** The features of the digits set. */
const DIGIT_FEATURES = DIGIT_SIDE * DIGIT_SIDE;
const DIGIT_CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/** The largest intensity of a cell in the digits set. */
const INTENSITY_MAX = 16;

export function drawView({ actions, store }: Context): View {
  const board = new Board(() => answer(store.state));
  const title = h("h2", { id: "draw-title" });
  const lead = h("p");
  const stage = h("p", { class: "stage", role: "status", "data-testid": "model-state" });
  const clear = h("button", { "data-testid": "clear", onclick: () => board.clear() });
  const keys = h("p", { class: "small", id: "draw-keys" });
  const seenLabel = h("span", { class: "label" });
  const seen = seenView();
  const label = h("b");
  const sure = h("span", { class: "label" });
  const prediction = h("p", { class: "prediction", role: "status", "data-testid": "prediction" }, label, sure);
  const bars = h("ol", { class: "bars", "data-testid": "confidences" });
  const verified = h("p", { class: "verified", "data-testid": "verified" });
  const facts = h("p", { class: "small", "data-testid": "model-cid" });
  const values = valuesView((row) => actions.predict(row), (given) => present(given, store.state.model));
  const drawing = h("div", { class: "drawing" }, board.element, h("div", { class: "under" }, clear, h("div", { class: "seen" }, seenLabel, seen.element)), keys);
  set(board.element, "aria-describedby", "draw-keys");
  let look = "";

  function answer(state: State): void {
    const digit = toDigit(board.strokes);
    seen.update(digit);
    set(board.element, "aria-label", `${t("draw.canvas")} ${t("draw.cursor", board.cursor)}`);
    if (!isDigits(state.model)) return;
    const drawn = board.strokes.length > 0;
    present(state.model && drawn ? actions.predict(digit) : null, state.model);
  }

  function present(given: Prediction | null, model: ModelFacts | null): void {
    const classes = model?.classes ?? DIGIT_CLASSES;
    const best = given === null ? undefined : given.confidences[classes.indexOf(given.label)];
    say(label, given === null ? t(isDigits(model) ? "draw.empty" : "draw.emptyValues") : t("draw.answer", { label: given.label }));
    say(sure, best === undefined ? "" : t("draw.sure", { confidence: percent(best) }));
    set(prediction, "data-label", given?.label);
    while (bars.childElementCount > classes.length) bars.lastElementChild?.remove();
    classes.forEach((name, index) => {
      const item = bars.children[index] ?? bars.appendChild(bar());
      const confidence = given?.confidences[index] ?? 0;
      const [text, track, number] = item.children as unknown as [HTMLElement, HTMLElement, HTMLElement];
      say(text, name);
      (track.firstElementChild as HTMLElement).style.width = `${Math.round(confidence * 1000) / 10}%`;
      say(number, given === null ? "" : percent(confidence));
      set(item, "data-label", name);
      set(item, "data-confidence", given === null ? null : confidence);
      set(item, "data-best", given !== null && name === given.label);
    });
  }

  return {
    element: h(
      "section",
      { class: "draw", "aria-labelledby": "draw-title" },
      title,
      lead,
      stage,
      h("div", { class: "desk" }, drawing, h("div", { class: "answer" }, values.element, prediction, bars, verified, facts)),
    ),
    update(state) {
      const { model } = state;
      say(title, t(isDigits(model) ? "draw.title" : "draw.titleValues"));
      say(lead, t("draw.lead"));
      const waiting = stageText(state);
      say(stage, waiting ?? "");
      show(stage, waiting !== null);
      say(clear, t("draw.clear"));
      say(keys, t("draw.keys"));
      say(seenLabel, t("draw.seen"));
      say(verified, t("draw.verified"));
      show(verified, model !== null);
      show(facts, model !== null);
      if (model !== null) {
        say(facts, [t("draw.accuracy", { accuracy: percent(model.accuracy) }), `${t("draw.cid")} ${short(model.cid)}`].join(" · "));
        set(facts, "data-cid", model.cid);
        set(facts, "title", model.cid);
      }
      show(drawing, isDigits(model));
      values.update(isDigits(model) ? null : model);
      const wanted = `${t("draw.empty")} ${model?.cid}`;
      if (wanted !== look) {
        look = wanted;
        present(null, model);
        answer(state);
      }
      board.draw();
    },
  };
}

/** The board is for models of the digits' shape; until a model is known it is shown as well. */
function isDigits(model: ModelFacts | null): boolean {
  return model === null || model.features === DIGIT_FEATURES;
}

function stageText(state: State): string | null {
  if (state.model !== null) return null;
  if (state.modelError !== null) return t("draw.failed", { message: state.modelError.message });
  return shownJob(state)?.state === "final" ? t("draw.loading") : t("draw.waiting");
}

function bar(): HTMLLIElement {
  return h("li", {}, h("span", {}), h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "level" })), h("span", {}));
}

/** The 64 intensities as the model gets them. */
function seenView() {
  const cells = Array.from({ length: DIGIT_FEATURES }, (_, index) =>
    svg("rect", { x: index % DIGIT_SIDE, y: Math.floor(index / DIGIT_SIDE), width: 1, height: 1, "fill-opacity": 0 }),
  );
  return {
    element: svg("svg", { viewBox: `0 0 ${DIGIT_SIDE} ${DIGIT_SIDE}`, "aria-hidden": "true", "data-testid": "seen" }, ...cells),
    update(digit: Float64Array) {
      cells.forEach((cell, index) => set(cell, "fill-opacity", (digit[index] ?? 0) / INTENSITY_MAX));
    },
  };
}
