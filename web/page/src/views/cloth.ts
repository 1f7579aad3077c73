/**
 * The work of a job as a cloth on the loom: what is done is woven from the left,
 * the threads of this device in red among the blue of all others. Which threads
 * are red is fixed by lot; how many of them are red is this device's share.
 */
import type { Job } from "tequio";
import { h, say, set, show, svg } from "../dom.js";
import { count, share as shareText } from "../format.js";
import { t } from "../i18n/index.js";
import { TILE_HEIGHT, TILE_WIDTH, raised } from "./greca.js";

const TILES = 6;
const COLUMNS = TILE_WIDTH * TILES;

export function clothView() {
  const cells: { cell: SVGRectElement; column: number; lot: number }[] = [];
  const drawing = svg("svg", {
    viewBox: `0 0 ${COLUMNS} ${TILE_HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "data-testid": "cloth",
  });
  for (let column = 0; column < COLUMNS; column += 1) {
    for (let row = 0; row < TILE_HEIGHT; row += 1) {
      const place = { x: column + 0.06, y: row + 0.06, width: 0.88, height: 0.88 };
      const cell = svg("rect", { ...place, class: raised(column, row) ? "raised" : "ground" });
      drawing.append(cell);
      cells.push({ cell, column, lot: lot(column) });
    }
  }
  const mine = h("span", { class: "key mine-key" });
  const others = h("span", { class: "key others-key" });
  const keys = h("p", { class: "small keys" }, mine, others);
  let drawn = "";
  return {
    element: h("div", { class: "cloth" }, drawing, keys),
    /** Without a job the loom stands empty. */
    update(job: Job | null) {
      const rounds = job?.rounds ?? 0;
      const woven = job?.state === "final" ? rounds : (job?.round ?? 0);
      const done = rounds === 0 ? 0 : woven / rounds;
      const share = job === null || job.units === 0 ? 0 : job.unitsByMe / job.units;
      const columns = Math.round(done * COLUMNS);
      const wanted = `${columns} ${Math.round(share * COLUMNS)}`;
      if (wanted !== drawn) {
        drawn = wanted;
        for (const { cell, column, lot } of cells) {
          const by = lot < share ? "me" : "all";
          set(cell, "data-by", column < columns ? by : "none");
        }
      }
      const values = { done: count(woven), rounds: count(rounds), mine: shareText(share) };
      set(drawing, "aria-label", t("cloth.label", values));
      show(keys, job !== null);
      say(mine, t("cloth.mine"));
      say(others, t("cloth.others"));
    },
  };
}

/**
 * A fixed number from 0 to 1 for each thread, evenly spread over any stretch of the cloth
 * (golden ratio).
 */
function lot(column: number): number {
  return ((column + 1) * 0.618_033_988_75) % 1;
}
