/** The accuracy curve, drawn by uPlot in the colours of the page. */
import type { Job } from "tequio";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { count, percent } from "../format.js";
import { locale, t } from "../i18n/index.js";
import { colour, theme } from "../theme.js";

const HEIGHT_PX = 240;
/** Up to this many rounds each point is marked, because a curve of one round is a point. */
const MARKED_POINTS_MAX = 12;

/** The curve of a job's accuracy. */
export function curveView() {
  const plotHost = h("div", { class: "plot", "aria-hidden": "true" });
  const empty = h("p", { class: "quiet-text" });
  // The text alternative of the curve.
  const words = h("p", { class: "visually-hidden" });
  const element = h("div", { class: "curve", "data-testid": "curve" }, plotHost, words, empty);
  let plot: uPlot | null = null;
  let look = "";
  let drawn = "";

  const width = () => Math.max(200, plotHost.clientWidth);
  const resize = () => plot?.setSize({ width: width(), height: HEIGHT_PX });
  new ResizeObserver(resize).observe(plotHost);

  return {
    element,
    update(job: Job) {
      const last = job.curve.at(-1);
      setAttribute(element, "data-accuracy", last?.accuracy);
      setAttribute(element, "data-points", job.curve.length);
      setText(words, last === undefined ? "" : label(job, last.accuracy));
      setText(empty, t("curve.empty"));
      setVisible(empty, last === undefined);
      setVisible(plotHost, last !== undefined);
      if (last === undefined) return;

      // uPlot fixes colours and texts at its creation, so another appearance needs another plot.
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const wantedLook = [locale(), theme(), dark].join();
      if (plot === null || look !== wantedLook) {
        plot?.destroy();
        plot = new uPlot(plotOptions(width()), [[], []], plotHost);
        look = wantedLook;
        drawn = "";
      }
      const data = `${job.id} ${job.curve.length} ${job.rounds} ${last.round} ${last.accuracy}`;
      if (data === drawn) return;
      drawn = data;
      const made = plot;
      made.batch(() => {
        const { curve } = job;
        made.setData([curve.map(({ round }) => round), curve.map(({ accuracy }) => accuracy)]);
        made.setScale("x", { min: 0, max: Math.max(1, job.rounds, last.round) });
      });
    },
  };
}

function label(job: Job, accuracy: number): string {
  return t("curve.label", {
    accuracy: percent(accuracy),
    round: count(job.round),
    rounds: count(job.rounds),
    first: percent(job.curve[0]?.accuracy ?? 0),
  });
}

function plotOptions(width: number): uPlot.Options {
  const font = "12px system-ui, sans-serif";
  const axis: uPlot.Axis = {
    stroke: colour("muted"),
    font,
    labelFont: font,
    labelSize: 18,
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
  const numbers = new Intl.NumberFormat(locale());
  const shares = new Intl.NumberFormat(locale(), { style: "percent" });
  const rounds = (_: uPlot, splits: number[]) => {
    return splits.map((split) => (Number.isInteger(split) ? numbers.format(split) : ""));
  };
  const percents = (_: uPlot, splits: number[]) => splits.map((split) => shares.format(split));
  const red = colour("cochineal");
  const marked = (shown: uPlot) => shown.data[0].length <= MARKED_POINTS_MAX;
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false } },
    scales: { x: { time: false, auto: false }, y: { range: [0, 1] } },
    axes: [
      { ...axis, label: t("curve.axis.round"), size: 28, grid: { show: false }, values: rounds },
      { ...axis, size: 52, splits: [0, 0.25, 0.5, 0.75, 1], values: percents },
    ],
    series: [
      {},
      {
        stroke: red,
        width: 2.5,
        fill: colour("cochineal-wash"),
        points: { show: marked, size: 9, fill: red, stroke: red },
      },
    ],
  };
}
