/** The verified model's prediction, with confidences, for a drawing or for entered values. */
import type { Prediction } from "tequio";
import { DIGIT_SIDE, toDigit } from "../digit.js";
import { h, setAttribute, setText, setVisible, svg } from "../dom.js";
import { count, percent, short } from "../format.js";
import { locale, t } from "../i18n/index.js";
import { modelJob } from "../jobs.js";
import { isOffline, shownJob, type ModelFacts, type State } from "../state.js";
import { Board } from "./board.js";
import { errorText } from "./error.js";
import { savingView } from "./saving.js";
import { valuesView } from "./values.js";
import type { AppContext, View } from "./view.js";

/** The number of features of the digits set. */
const DIGIT_FEATURES = DIGIT_SIDE * DIGIT_SIDE;
const DIGIT_CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/** The largest intensity of a cell in the digits set. */
const INTENSITY_MAX = 16;

/** The drawing board, the values form and the model's prediction. */
export function drawView({ actions, store, announcer }: AppContext): View {
  const board = new Board(() => answer(store.state));
  const title = h("h2", { id: "draw-title" });
  const lead = h("p");
  const status = h("p", { class: "stage", "data-testid": "model-state" });
  const clear = h("button", { "data-testid": "clear", onclick: () => board.clear() });
  const keys = h("p", { class: "small", id: "draw-keys" });
  const inputLabel = h("span", { class: "label" });
  const input = inputView();
  const label = h("b");
  const confidenceText = h("span", { class: "label" });
  const predictionAttributes = { class: "prediction", "data-testid": "prediction" };
  const prediction = h("p", predictionAttributes, label, confidenceText);
  const bars = h("ol", { class: "bars", "data-testid": "confidences" });
  const verified = h("p", { class: "verified", "data-testid": "verified" });
  const facts = h("p", { class: "small", "data-testid": "model-cid" });
  const saving = savingView(announcer);
  const saveModel = saveButton("model");
  const saveRecord = saveButton("record");
  const buttons = h("div", { class: "buttons" }, saveModel, saveRecord);
  const files = h("div", { class: "files" }, buttons, saving.element);
  const values = valuesView(
    (row) => actions.predict(row),
    (given) => present(given, store.state.model),
  );
  const inputPart = h("div", { class: "model-input" }, inputLabel, input.element);
  const under = h("div", { class: "under" }, clear, inputPart);
  const drawing = h("div", { class: "drawing" }, board.element, under, keys);
  setAttribute(board.element, "aria-describedby", "draw-keys");
  let drawnFor = "";

  function saveButton(file: "model" | "record"): HTMLButtonElement {
    return h("button", {
      "data-testid": `save-${file}`,
      onclick: () => {
        const { model } = store.state;
        if (model !== null) void saving.run(actions.saveModel(model.job, file));
      },
    });
  }

  function answer(state: State): void {
    const digit = toDigit(board.strokes);
    input.update(digit);
    const cursor = t("draw.cursor", board.cursor);
    setAttribute(board.element, "aria-label", `${t("draw.canvas")} ${cursor}`);
    if (!isDigits(state.model)) return;
    const drawn = board.strokes.length > 0;
    present(state.model && drawn ? actions.predict(digit) : null, state.model);
  }

  function present(given: Prediction | null, model: ModelFacts | null): void {
    const classes = model?.classes ?? DIGIT_CLASSES;
    const best = given === null ? undefined : given.confidences[classes.indexOf(given.label)];
    const answerText = given === null ? emptyText(model) : t("draw.answer", { label: given.label });
    const confidence = best === undefined ? "" : percent(best);
    setText(label, answerText);
    setText(confidenceText, best === undefined ? "" : t("draw.confidence", { confidence }));
    setAttribute(prediction, "data-label", given?.label);
    // The prediction changes with each point of a drawing, so the announcer delays it.
    announcer.announce("prediction", given === null ? "" : answerText);
    while (bars.childElementCount > classes.length) bars.lastElementChild?.remove();
    classes.forEach((name, index) => {
      const item = bars.children[index] ?? bars.appendChild(bar());
      updateBar(item, name, given?.confidences[index] ?? null, name === given?.label);
    });
  }

  return {
    element: h(
      "section",
      { class: "draw", "aria-labelledby": "draw-title", "data-part": "draw", tabindex: -1 },
      title,
      lead,
      status,
      h(
        "div",
        { class: "board-and-answer" },
        drawing,
        h("div", { class: "answer" }, values.element, prediction, bars, verified, facts, files),
      ),
    ),
    reads: (state) => [
      state.phase,
      state.model,
      state.modelError,
      isOffline(state),
      state.model === null ? shownJob(state) : modelJob(state.jobs, state.job)?.id,
    ],
    update(state) {
      const { model } = state;
      setText(title, t(isDigits(model) ? "draw.title" : "draw.titleValues"));
      setText(lead, t("draw.lead"));
      const statusMessage = statusText(state);
      setText(status, statusMessage ?? "");
      setVisible(status, statusMessage !== null);
      status.classList.toggle("notice", state.modelError !== null);
      setAttribute(drawing, "data-waiting", model === null);
      setText(clear, t("draw.clear"));
      setText(keys, t("draw.keys"));
      setText(inputLabel, t("draw.input"));
      setText(verified, t("draw.verified"));
      setText(saveModel, t("download.model"));
      setText(saveRecord, t("download.record"));
      setVisible(verified, model !== null);
      setVisible(facts, model !== null);
      setVisible(files, model !== null);
      setVisible(bars, model !== null);
      if (model !== null) {
        const accuracy = percent(model.accuracy);
        const right = t("draw.accuracy", { name: model.name, accuracy });
        setText(facts, `${right} · ${t("draw.cid")} ${short(model.cid)}`);
        setAttribute(facts, "data-cid", model.cid);
        setAttribute(facts, "title", model.cid);
      }
      setVisible(drawing, isDigits(model));
      values.update(isDigits(model) ? null : model);
      const inputs = `${locale()} ${model?.cid}`;
      if (inputs !== drawnFor) {
        drawnFor = inputs;
        present(null, model);
        answer(state);
      }
      board.draw();
    },
  };
}

/** Whether the board is shown: for models of digits, and until a model is known. */
function isDigits(model: ModelFacts | null): boolean {
  if (model === null) return true;
  const digits = model.classes.every((name) => DIGIT_CLASSES.includes(name));
  return model.features === DIGIT_FEATURES && digits;
}

function emptyText(model: ModelFacts | null): string {
  if (model === null) return t("draw.noModel");
  return t(isDigits(model) ? "draw.empty" : "draw.emptyValues");
}

/** The reason why there is no model yet, or null if there is one. */
function statusText(state: State): string | null {
  if (state.modelError !== null) {
    return t("draw.failed", { message: errorText(state.modelError, isOffline(state)) });
  }
  if (state.model !== null) return null;
  if (state.phase !== "connected") return t("draw.away");
  if (modelJob(state.jobs, state.job) !== null) return t("draw.loading");
  const job = shownJob(state);
  if (job?.state !== "running") return t("draw.waiting");
  return t("draw.waitingRound", { round: count(job.round), rounds: count(job.rounds) });
}

function bar(): HTMLLIElement {
  const level = h("span", { class: "level" });
  const track = h("span", { class: "track", "aria-hidden": "true" }, level);
  return h("li", {}, h("span", {}), track, h("span", {}));
}

function updateBar(item: Element, name: string, confidence: number | null, best: boolean): void {
  const [text, track, number] = item.children as unknown as [HTMLElement, HTMLElement, HTMLElement];
  setText(text, name);
  const level = track.firstElementChild as HTMLElement;
  level.style.width = `${Math.round((confidence ?? 0) * 1000) / 10}%`;
  setText(number, confidence === null ? "" : percent(confidence));
  setAttribute(item, "data-label", name);
  setAttribute(item, "data-confidence", confidence);
  setAttribute(item, "data-best", best);
}

/** The 64 intensities of the model's input. */
function inputView() {
  const cells = Array.from({ length: DIGIT_FEATURES }, (_, index) => {
    const [x, y] = [index % DIGIT_SIDE, Math.floor(index / DIGIT_SIDE)];
    return svg("rect", { x, y, width: 1, height: 1, "fill-opacity": 0 });
  });
  const box = `0 0 ${DIGIT_SIDE} ${DIGIT_SIDE}`;
  return {
    element: svg("svg", { viewBox: box, "aria-hidden": "true" }, ...cells),
    update(digit: Float64Array) {
      cells.forEach((cell, index) => {
        setAttribute(cell, "fill-opacity", (digit[index] ?? 0) / INTENSITY_MAX);
      });
    },
  };
}
