/** The shown job: its state, its accuracy as a curve, and its progress as a pattern. */
import type { Job } from "tequio";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { count, moment, percent } from "../format.js";
import { language, t, tMaybe } from "../i18n/index.js";
import { shownJob, type State } from "../state.js";
import { progressPatternView } from "./progress-pattern.js";
import { curveView } from "./curve.js";
import { stateText } from "./job-text.js";
import type { AppContext, View } from "./view.js";

/** The shown job and the choice of another. */
export function trainingView({ actions, launchParams }: AppContext): View {
  const title = h("h2", { id: "training-title" });
  const chooser = h("select", {
    id: "job",
    "data-testid": "job",
    onchange: () => actions.chooseJob(chooser.value === "" ? null : chooser.value),
  });
  const chooserLabel = h("label", { for: "job", class: "label" });
  const choice = h("p", { class: "choice" }, chooserLabel, chooser);
  const none = h("p", { class: "quiet-text" });
  const accuracy = h("b", { "data-testid": "accuracy" });
  const accuracyLabel = h("span", { class: "label" });
  const progress = h("p", { class: "progress", "data-testid": "job-state" });
  const waits = h("p", { class: "notice", "data-testid": "job-waits" });
  const curve = curveView();
  const progressPattern = progressPatternView();
  const accuracyLine = h("p", { class: "accuracy" }, accuracy, " ", accuracyLabel);
  const figures = h("div", {}, accuracyLine, curve.element);
  const titled = h("div", { class: "titled" }, title, choice);
  return {
    element: h(
      "section",
      { class: "training", "aria-labelledby": "training-title", "data-part": "job", tabindex: -1 },
      titled,
      none,
      waits,
      figures,
      progressPattern.element,
      progress,
    ),
    reads: (state) => [state.phase, state.jobs, state.jobsRead, state.job, state.chosenJob],
    update(state) {
      const job = shownJob(state);
      setText(title, t("training.title"));
      setText(none, emptyText(state));
      setText(chooserLabel, t("training.choose"));
      setVisible(none, job === null && launchParams.checkpoint !== null);
      setVisible(figures, job !== null);
      setVisible(progress, job !== null);
      setVisible(choice, state.jobs.length > 1);
      options(chooser, state);
      progressPattern.update(job);
      const waiting = job === null ? null : waitingText(job);
      setText(waits, waiting ?? "");
      setVisible(waits, waiting !== null);
      if (job === null) return;
      setText(accuracy, job.accuracy === null ? "–" : percent(job.accuracy));
      setText(accuracyLabel, accuracyText(job));
      setText(progress, progressText(job));
      setAttribute(progress, "data-state", job.state);
      setAttribute(progress, "data-round", job.round);
      setAttribute(progress, "data-rounds", job.rounds);
      curve.update(job);
    },
  };
}

function emptyText({ phase, jobsRead }: State): string {
  if (phase !== "connected") return t("training.away");
  return t(jobsRead ? "training.none" : "jobSummary.reading");
}

function accuracyText({ accuracy, bestAccuracy, round }: Job): string {
  if (accuracy === null) {
    return t(round > 0 ? "training.accuracyNoTestRows" : "training.accuracyNone");
  }
  const better = typeof bestAccuracy === "number" && bestAccuracy > accuracy;
  const best = better ? ` · ${t("training.best", { accuracy: percent(bestAccuracy) })}` : "";
  return t("training.accuracy") + best;
}

function progressText(job: Job): string {
  const { name, round, rounds, units, unitsByMe, submittedMs } = job;
  const line = [
    name,
    stateText(job.state),
    t("training.round", { round: count(round), rounds: count(rounds) }),
    t("training.units", { units: count(units), own: count(unitsByMe) }),
    submittedMs ? t("training.submitted", { time: moment(submittedMs) }) : "",
  ];
  return line.filter((part) => part !== "").join(" · ");
}

/** The reason for which the job waits, or ended without a model; else null. */
function waitingText({ waitingFor, reason }: Job): string | null {
  if (waitingFor) {
    return `${t("training.waits", { what: tMaybe(`waiting.${waitingFor}`) ?? waitingFor })}.`;
  }
  if (!reason) return null;
  return `${t("training.reason", { reason: tMaybe(`ended.${reason}`) ?? reason })}.`;
}

/** Rebuilds the list of jobs if a job, its state or the language has changed. */
function options(select: HTMLSelectElement, { jobs, chosenJob }: State): void {
  const listed = jobs.map(({ id, state }) => `${id} ${state}`).join();
  const contents = `${language()} ${listed}`;
  if (select.dataset["jobs"] !== contents) {
    select.dataset["jobs"] = contents;
    const follow = h("option", { value: "" }, t("training.follow"));
    const newest = jobs.toReversed().map((job) => h("option", { value: job.id }, optionText(job)));
    select.replaceChildren(follow, ...newest);
  }
  const value = jobs.some(({ id }) => id === chosenJob) ? (chosenJob ?? "") : "";
  if (select.value !== value) select.value = value;
}

function optionText(job: Job): string {
  const values = { name: job.name || job.id, state: stateText(job.state) };
  if (!job.submittedMs) return t("training.option", values);
  return t("training.optionTime", { ...values, time: moment(job.submittedMs) });
}
