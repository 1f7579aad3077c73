/** A summary of the shown job for the person's decision: model, coordinator, progress, workers. */
import type { Job } from "tequio";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { count, percent, short } from "../format.js";
import { t } from "../i18n/index.js";
import type { LaunchParams } from "../launch-params.js";
import { shownJob, type State } from "../state.js";
import { stateText } from "./job-text.js";
import { row } from "./row.js";
import type { AppContext, View } from "./view.js";

/** The summary of the shown job. */
export function jobSummaryView({ launchParams }: AppContext): View & { element: HTMLElement } {
  const title = h("h2");
  const none = h("p", { class: "quiet-text" });
  const rows = {
    what: row("job-summary-what"),
    who: row("job-summary-who"),
    far: row("job-summary-far"),
    now: row("job-summary-now"),
  };
  const list = h("dl", { class: "rows" }, ...Object.values(rows).map(({ element }) => element));
  const element = h(
    "div",
    { class: "job-summary", "data-testid": "job-summary" },
    title,
    none,
    list,
  );
  return {
    element,
    reads: (state) => [state.phase, state.jobsRead, shownJob(state), state.contribution.state],
    update(state) {
      const job = shownJob(state);
      const running = job !== null && (job.state === "running" || job.state === "pending");
      setText(title, t(job === null || running ? "jobSummary.title" : "jobSummary.titleLast"));
      setText(none, emptyText(state, launchParams));
      setVisible(none, job === null && launchParams.checkpoint !== null);
      setVisible(list, job !== null);
      setAttribute(element, "data-job", job?.id);
      if (job === null) return;
      rows.what.update(t("jobSummary.what"), whatText(job));
      setAttribute(rows.what.value, "title", job.dataset);
      rows.who.update(
        t("jobSummary.who"),
        t("jobSummary.coordinator", { id: short(job.coordinator) }),
      );
      setAttribute(rows.who.value, "title", job.coordinator);
      rows.far.update(t("jobSummary.far"), farText(job));
      const now = nowText(job);
      rows.now.update(t("jobSummary.now"), now ?? "");
      setVisible(rows.now.element, now !== null);
    },
  };
}

function emptyText({ phase, jobsRead }: State, launchParams: LaunchParams): string {
  // Without a checkpoint, the notice beside the buttons explains what to do.
  if (launchParams.checkpoint === null) return "";
  if (phase === "connected") return t(jobsRead ? "jobSummary.none" : "jobSummary.reading");
  return t(phase === "connecting" ? "jobSummary.reading" : "jobSummary.away");
}

function whatText({ name, id, dataset }: Job): string {
  const model = name === "" ? short(id) : name;
  if (dataset === undefined) return t("jobSummary.modelPlain", { name: model });
  return t("jobSummary.model", {
    name: model,
    rows: t("jobSummary.dataset", { cid: short(dataset) }),
  });
}

function farText({ state, round, rounds, accuracy }: Job): string {
  const values = { round: count(round), rounds: count(rounds) };
  const far =
    accuracy === null
      ? t("jobSummary.round", values)
      : t("jobSummary.roundAccuracy", { ...values, accuracy: percent(accuracy) });
  return state === "running" ? far : `${stateText(state)}: ${far}`;
}

function nowText({ state, workersNow, contributors = [] }: Job): string | null {
  if (state === "running" && workersNow !== undefined) {
    const { full, browsers } = workersNow;
    return t("jobSummary.workers", { full: count(full), browsers: count(browsers) });
  }
  const members = contributors.length;
  return members === 0 ? null : t("jobSummary.members", { count: count(members) });
}
