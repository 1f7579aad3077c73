/** The running job: how far it is, its accuracy as a curve, and its work as a cloth. */
import type { Job } from "tequio";
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { count, percent } from "../format.js";
import { t } from "../i18n/index.js";
import { shownJob } from "../state.js";
import { clothView } from "./cloth.js";
import { curveView } from "./curve.js";

export function trainingView({ actions }: Context): View {
  const title = h("h2", { id: "training-title" });
  const chooser = h("select", { id: "job", "data-testid": "job", onchange: () => actions.chooseJob(chooser.value) });
  const chooserLabel = h("label", { for: "job", class: "label" });
  const choice = h("p", { class: "choice" }, chooserLabel, chooser);
  const none = h("p", { class: "quiet-text" });
  const accuracy = h("b", { "data-testid": "accuracy" });
  const accuracyLabel = h("span", { class: "label" });
  const progress = h("p", { class: "progress", role: "status", "data-testid": "job-state" });
  const curve = curveView();
  const cloth = clothView();
  const figures = h("div", {}, h("p", { class: "accuracy" }, accuracy, accuracyLabel), curve.element);
  return {
    element: h("section", { class: "training", "aria-labelledby": "training-title" }, h("div", { class: "titled" }, title, choice), none, figures, cloth.element, progress),
    update(state) {
      const job = shownJob(state);
      say(title, t("training.title"));
      say(none, t(state.phase === "connected" ? "training.none" : "training.away"));
      say(chooserLabel, t("training.choose"));
      show(none, job === null);
      show(figures, job !== null);
      show(progress, job !== null);
      show(choice, state.jobs.length > 1);
      options(chooser, state.jobs, job);
      cloth.update(job);
      if (job === null) return;
      say(accuracy, job.accuracy === null ? "–" : percent(job.accuracy));
      say(accuracyLabel, job.accuracy === null ? t("training.accuracyNone") : t("training.accuracy"));
      const line = [job.name, t(`training.state.${job.state}`), t("training.round", { round: count(job.round), rounds: count(job.rounds) }), t("training.units", { units: count(job.units), mine: count(job.unitsByMe) })];
      say(progress, line.filter((part) => part !== "").join(" · "));
      set(progress, "data-state", job.state);
      set(progress, "data-round", job.round);
      set(progress, "data-rounds", job.rounds);
      curve.update(job);
    },
  };
}

function options(select: HTMLSelectElement, jobs: readonly Job[], shown: Job | null): void {
  const wanted = jobs.map(({ id }) => id).join(" ");
  if (select.dataset["jobs"] !== wanted) {
    select.dataset["jobs"] = wanted;
    select.replaceChildren(...jobs.map(({ id, name }) => h("option", { value: id }, name || id)));
  }
  if (shown && select.value !== shown.id) select.value = shown.id;
}
