/** What is in training, for whom, how far, and how many take part: read before one decides. */
import type { Job } from "tequio";
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { count, percent, short } from "../format.js";
import { t } from "../i18n/index.js";
import type { Place } from "../place.js";
import { shownJob, type State } from "../state.js";
import { stateText } from "./job-text.js";
import { row } from "./row.js";

export function causeView({ place }: Context): View & { element: HTMLElement } {
  const title = h("h2");
  const none = h("p", { class: "quiet-text" });
  const rows = {
    what: row("cause-what"),
    who: row("cause-who"),
    far: row("cause-far"),
    now: row("cause-now"),
  };
  const list = h("dl", { class: "rows" }, ...Object.values(rows).map(({ element }) => element));
  const element = h("div", { class: "cause", "data-testid": "cause" }, title, none, list);
  return {
    element,
    reads: (state) => [state.phase, state.jobsRead, shownJob(state), state.contribution.state],
    update(state) {
      const job = shownJob(state);
      const running = job !== null && (job.state === "running" || job.state === "pending");
      say(title, t(job === null || running ? "cause.title" : "cause.titleLast"));
      say(none, emptyText(state, place));
      show(none, job === null && place.checkpoint !== null);
      show(list, job !== null);
      set(element, "data-job", job?.id);
      if (job === null) return;
      rows.what.update(t("cause.what"), whatText(job));
      set(rows.what.value, "title", job.dataset);
      rows.who.update(t("cause.who"), t("cause.coordinator", { id: short(job.coordinator) }));
      set(rows.who.value, "title", job.coordinator);
      rows.far.update(t("cause.far"), farText(job));
      const now = nowText(job);
      rows.now.update(t("cause.now"), now ?? "");
      show(rows.now.element, now !== null);
    },
  };
}

function emptyText({ phase, jobsRead }: State, place: Place): string {
  // Without a checkpoint, the notice beside the buttons tells the person what to do.
  if (place.checkpoint === null) return "";
  if (phase === "connected") return t(jobsRead ? "cause.none" : "cause.reading");
  return t(phase === "connecting" ? "cause.reading" : "cause.away");
}

function whatText({ name, id, dataset }: Job): string {
  const model = name === "" ? short(id) : name;
  if (dataset === undefined) return t("cause.modelPlain", { name: model });
  return t("cause.model", { name: model, rows: t("cause.dataset", { cid: short(dataset) }) });
}

function farText({ state, round, rounds, accuracy }: Job): string {
  const values = { round: count(round), rounds: count(rounds) };
  const far =
    accuracy === null
      ? t("cause.round", values)
      : t("cause.roundAccuracy", { ...values, accuracy: percent(accuracy) });
  return state === "running" ? far : `${stateText(state)}: ${far}`;
}

function nowText({ state, workersNow, contributors = [] }: Job): string | null {
  if (state === "running" && workersNow !== undefined) {
    const { full, browsers } = workersNow;
    return t("cause.workers", { full: count(full), browsers: count(browsers) });
  }
  const members = contributors.length;
  return members === 0 ? null : t("cause.members", { count: count(members) });
}
