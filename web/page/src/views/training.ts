/** The shown job: how far it is, its accuracy as a curve, and its work as a cloth. */
import type { Job } from "tequio";
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { count, moment, percent } from "../format.js";
import { language, t, tMaybe } from "../i18n/index.js";
import { shownJob, type State } from "../state.js";
import { clothView } from "./cloth.js";
import { curveView } from "./curve.js";
import { stateText } from "./job-text.js";

export function trainingView({ actions, place }: Context): View {
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
  const cloth = clothView();
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
      cloth.element,
      progress,
    ),
    reads: (state) => [state.phase, state.jobs, state.jobsRead, state.job, state.chosenJob],
    update(state) {
      const job = shownJob(state);
      say(title, t("training.title"));
      say(none, emptyText(state));
      say(chooserLabel, t("training.choose"));
      show(none, job === null && place.checkpoint !== null);
      show(figures, job !== null);
      show(progress, job !== null);
      show(choice, state.jobs.length > 1);
      options(chooser, state);
      cloth.update(job);
      const waiting = job === null ? null : waitingText(job);
      say(waits, waiting ?? "");
      show(waits, waiting !== null);
      if (job === null) return;
      say(accuracy, job.accuracy === null ? "–" : percent(job.accuracy));
      say(accuracyLabel, accuracyText(job));
      say(progress, progressText(job));
      set(progress, "data-state", job.state);
      set(progress, "data-round", job.round);
      set(progress, "data-rounds", job.rounds);
      curve.update(job);
    },
  };
}

function emptyText({ phase, jobsRead }: State): string {
  if (phase !== "connected") return t("training.away");
  return t(jobsRead ? "training.none" : "cause.reading");
}

function accuracyText({ accuracy, bestAccuracy }: Job): string {
  if (accuracy === null) return t("training.accuracyNone");
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
    t("training.units", { units: count(units), mine: count(unitsByMe) }),
    submittedMs ? t("training.submitted", { time: moment(submittedMs) }) : "",
  ];
  return line.filter((part) => part !== "").join(" · ");
}

/** What the job waits for, or why it ended without a model; null if neither. */
function waitingText({ waitingFor, reason }: Job): string | null {
  if (waitingFor) {
    return `${t("training.waits", { what: tMaybe(`waiting.${waitingFor}`) ?? waitingFor })}.`;
  }
  if (!reason) return null;
  return `${t("training.reason", { reason: tMaybe(`ended.${reason}`) ?? reason })}.`;
}

/** Draws the list of jobs anew only if a job, its state or the language has changed. */
function options(select: HTMLSelectElement, { jobs, chosenJob }: State): void {
  const listed = jobs.map(({ id, state }) => `${id} ${state}`).join();
  const wanted = `${language()} ${listed}`;
  if (select.dataset["jobs"] !== wanted) {
    select.dataset["jobs"] = wanted;
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
