/**
 * The progress of a job as a woven pattern: the finished columns from the left are coloured. This
 * device's share of them is red, the others' is blue. A fixed pseudo-random order selects the red
 * columns.
 */
import type { Job } from "tequio";
import { h, setAttribute, setText, setVisible, svg } from "../dom.js";
import { count, share as shareText } from "../format.js";
import { t } from "../i18n/index.js";
import { TILE_HEIGHT, TILE_WIDTH, isRaised } from "./ornament.js";

const TILES = 6;
const COLUMNS = TILE_WIDTH * TILES;

/** The pattern that shows a job's progress and this device's share. */
export function progressPatternView() {
  const cells: { cell: SVGRectElement; column: number; order: number }[] = [];
  const drawing = svg("svg", {
    viewBox: `0 0 ${COLUMNS} ${TILE_HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "data-testid": "progress-pattern",
  });
  for (let column = 0; column < COLUMNS; column += 1) {
    for (let row = 0; row < TILE_HEIGHT; row += 1) {
      const position = { x: column + 0.06, y: row + 0.06, width: 0.88, height: 0.88 };
      const cell = svg("rect", { ...position, class: isRaised(column, row) ? "raised" : "ground" });
      drawing.append(cell);
      cells.push({ cell, column, order: drawOrder(column) });
    }
  }
  const own = h("span", { class: "key own-key" });
  const others = h("span", { class: "key others-key" });
  const keys = h("p", { class: "small keys" }, own, others);
  let drawn = "";
  return {
    element: h("div", { class: "progress-pattern" }, drawing, keys),
    /** Draws a job's progress; without a job the pattern is empty. */
    update(job: Job | null) {
      const rounds = job?.rounds ?? 0;
      const roundsDone = job?.state === "final" ? rounds : (job?.round ?? 0);
      const done = rounds === 0 ? 0 : roundsDone / rounds;
      const share = job === null || job.units === 0 ? 0 : job.unitsByMe / job.units;
      const columns = Math.round(done * COLUMNS);
      const progress = `${columns} ${Math.round(share * COLUMNS)}`;
      if (progress !== drawn) {
        drawn = progress;
        for (const { cell, column, order } of cells) {
          const by = order < share ? "me" : "all";
          setAttribute(cell, "data-by", column < columns ? by : "none");
        }
      }
      const values = { done: count(roundsDone), rounds: count(rounds), own: shareText(share) };
      setAttribute(drawing, "aria-label", t("progressPattern.label", values));
      setVisible(keys, job !== null);
      setText(own, t("progressPattern.own"));
      setText(others, t("progressPattern.others"));
    },
  };
}

/** A fixed number from 0 to 1 for each column, evenly spread over any stretch (golden ratio). */
function drawOrder(column: number): number {
  return ((column + 1) * 0.618_033_988_75) % 1;
}
