/** Texts of the state line, of the tab's title and of their announcements. Pure. */
import { bytes, clock, count } from "../format.js";
import { t, tMaybe } from "../i18n/index.js";
import { isOffline, type State } from "../state.js";

/** The state that the line shows; without a node it is `away` or `connecting`. */
export type ShownActivity =
  | "away"
  | "connecting"
  | "off"
  | "waiting"
  | "computing"
  | "paused"
  | "disconnected";

/** The activity that the state line shows. */
export function shownActivity({ phase, activity }: State): ShownActivity {
  if (phase === "connecting") return "connecting";
  if (phase !== "connected" || activity === null) return "away";
  return activity.state;
}

/** The line without its changing numbers, which a screen reader must not repeat. */
export function activityText(state: State): string {
  const { activity, load } = state;
  switch (shownActivity(state)) {
    case "away":
      return "";
    case "connecting":
      return load === null ? t("join.connecting") : loadText(load);
    case "off":
      return t("activity.off");
    case "waiting":
      return waitingText(state);
    case "computing": {
      const job = jobName(state);
      return job === null ? t("activity.computingPlain") : t("activity.computing", { job });
    }
    case "paused":
      return tMaybe(`activity.paused.${activity?.reason}`) ?? t("activity.paused");
    case "disconnected": {
      // Without a quorum the line shows the last block's own time, on the device's clock.
      const blockMs = activity?.reason === "noQuorum" ? state.head?.timeMs : undefined;
      const sinceMs = activity?.sinceMs ?? 0;
      const time = clock(blockMs === undefined ? sinceMs : blockMs + (state.clockOffsetMs ?? 0));
      const key = `activity.disconnected.${activity?.reason}`;
      if (isOffline(state) && state.contribution.reason === "codeUnreachable") {
        return t("activity.disconnected.codeUnreachable", { time });
      }
      return tMaybe(key, { time }) ?? t("activity.disconnected", { time });
    }
  }
}

/** The label of the button that starts to compute in a connected page. */
export function computeText({ ownWork }: State): string {
  return t(ownWork.computed > 0 ? "join.start" : "join.button");
}

/** The label of the button that ends a pause. */
export function resumeText({ contribution }: State): string {
  return t(contribution.reason === "codeUnreachable" ? "join.retry" : "join.resume");
}

/** Rate and cores while computing; else empty. */
export function rateText(state: State): string {
  const { activity, contribution } = state;
  if (activity?.state !== "computing") return "";
  const { unitsPerMinute } = activity;
  const cores = contribution.workers;
  const parts = [
    !unitsPerMinute
      ? ""
      : unitsPerMinute === 1
        ? t("activity.rateOne")
        : t("activity.rate", { count: count(unitsPerMinute) }),
    cores === 1 ? t("activity.coresOne") : t("activity.cores", { count: count(cores) }),
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** The tab's title. */
export function titleText(state: State): string {
  const shown = shownActivity(state);
  if (shown === "away") return t("title");
  return t("title.with", { state: titleState(state, shown) });
}

function titleState(state: State, shown: Exclude<ShownActivity, "away">): string {
  if (shown === "disconnected" && state.activity?.reason === "noQuorum") {
    return t("activity.title.noQuorum");
  }
  if (shown !== "computing") return t(`activity.title.${shown}`);
  const job = jobName(state);
  const rate = count(state.activity?.unitsPerMinute ?? 0);
  if (job === null) return t("activity.title.computingPlain", { count: rate });
  return t("activity.title.computing", { job, count: rate });
}

function loadText({ received, total }: { received: number; total: number | null }): string {
  if (total === null) return t("join.loadingPlain", { received: bytes(received) });
  return t("join.loading", { received: bytes(received), total: bytes(total) });
}

function waitingText({ jobs, jobsRead, unitJobs }: State): string {
  const running = jobs.filter(({ state }) => state === "running");
  if (running.some(({ id }) => unitJobs.includes(id))) return t("activity.waitingNext");
  if (running.length > 0) return t("activity.waitingJob");
  return t(jobsRead ? "activity.waitingNoJob" : "activity.waiting");
}

/** The name of the computed job, which may differ from the shown one. */
function jobName({ activity, jobs }: State): string | null {
  const job = jobs.find(({ id }) => id === activity?.job);
  return job === undefined || job.name === "" ? null : job.name;
}
