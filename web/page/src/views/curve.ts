/** The accuracy curve, drawn by uPlot in the colours of the page. */
import type { Job } from "tequio";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h, say, set, show } from "../dom.js";
import { count, percent } from "../format.js";
import { language, t } from "../i18n/index.js";
import { colour, theme } from "../theme.js";

const HEIGHT_PX = 240;

export function curveView() {
  const plotHost = h("div", { class: "plot" });
  const empty = h("p", { class: "quiet-text" });
  const element = h("div", { class: "curve", role: "img", "data-testid": "curve" }, plotHost, empty);
  let plot: uPlot | null = null;
  let look = "";
  let drawn = "";

  const width = () => Math.max(200, plotHost.clientWidth);
  new ResizeObserver(() => plot?.setSize({ width: width(), height: HEIGHT_PX })).observe(plotHost);

  return {
    element,
    update(job: Job) {
      const last = job.curve.at(-1);
      set(element, "data-accuracy", last?.accuracy);
      set(element, "data-points", job.curve.length);
      set(element, "aria-label", last === undefined ? t("curve.empty") : label(job, last.accuracy));
      say(empty, t("curve.empty"));
      show(empty, last === undefined);
      show(plotHost, last !== undefined);
      if (last === undefined) return;

      // uPlot fixes colours and words when it is made, so another look needs another plot.
      const wantedLook = [language(), theme(), matchMedia("(prefers-color-scheme: dark)").matches].join();
      if (plot === null || look !== wantedLook) {
        plot?.destroy();
        plot = new uPlot(plotOptions(width()), [[], []], plotHost);
        look = wantedLook;
        drawn = "";
      }
      const data = `${job.id} ${job.curve.length} ${job.rounds} ${last.accuracy}`;
      if (data === drawn) return;
      drawn = data;
      plot.batch(() => {
        plot?.setData([job.curve.map(({ round }) => round), job.curve.map(({ accuracy }) => accuracy)]);
        plot?.setScale("x", { min: 0, max: Math.max(1, job.rounds) });
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
  const axis: uPlot.Axis = {
    stroke: colour("muted"),
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
    labelSize: 18,
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false } },
    scales: { x: { time: false, auto: false }, y: { range: [0, 1] } },
    axes: [
      { ...axis, label: t("curve.axis.round"), size: 28, grid: { show: false } },
      { ...axis, size: 52, splits: [0, 0.25, 0.5, 0.75, 1], values: (_, splits) => splits.map((split) => new Intl.NumberFormat(language(), { style: "percent" }).format(split)) },
    ],
    series: [{}, { stroke: colour("cochineal"), width: 2.5, fill: colour("cochineal-wash"), points: { show: false } }],
  };
}
