/** The introduction, and the card with the cost, the consent and the controls. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { MEASURED } from "../measurements.js";
import { bytes } from "../format.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";
import { activityText, computeText, rateText, resumeText, shownActivity } from "./activity.js";
import { dataView } from "./data.js";
import { limitsView } from "./limits.js";
import type { AppContext, View } from "./view.js";

/** The introduction with the job summary. */
export function heroView(jobSummary: HTMLElement): View {
  const title = h("h1");
  const lead = h("p", { class: "lead" });
  return {
    element: h("section", { class: "hero" }, title, lead, jobSummary),
    reads: () => [],
    update() {
      setText(title, t("hero.title"));
      setText(lead, t("hero.lead"));
    },
  };
}

/** The card on which the person reads the cost, agrees and stops. */
export function joinView(context: AppContext): View {
  const { actions, launchParams } = context;
  const title = h("h2", { id: "join-title" });
  const costTitle = h("h3");
  const consent = h("p", { "data-testid": "consent" });
  const looking = h("p", { class: "small" });
  const visible = h("p", { class: "small" });
  const status = h("p", { class: "status", "data-testid": "contribution" });
  const rate = h("p", { class: "small", "data-testid": "rate" });
  const progress = h("progress", { "data-testid": "load", max: 1 });
  const data = dataView();
  const limits = limitsView(context);
  const noCheckpoint = h("p", { class: "notice", "data-testid": "no-checkpoint" });
  const join = h("button", {
    class: "primary",
    "data-testid": "join",
    onclick: () => {
      if (join.getAttribute("aria-disabled") !== "true") void actions.join();
    },
  });
  const watch = h("button", { "data-testid": "watch", onclick: () => void actions.watch() });
  const compute = h("button", {
    class: "primary",
    "data-testid": "compute",
    onclick: () => void actions.join(),
  });
  const resume = h("button", { "data-testid": "resume", onclick: () => actions.resume() });
  const stop = h("button", { "data-testid": "stop", onclick: () => actions.stop() });
  const leave = h("button", {
    class: "quiet",
    "data-testid": "leave",
    // This button does not receive the focus when another button disappears.
    "data-focus-last": true,
    onclick: () => void actions.leave(),
  });
  const cost = h("div", { class: "cost" }, costTitle, consent, looking, visible);
  const element = h(
    "section",
    { class: "join", "aria-labelledby": "join-title", "data-part": "join", tabindex: -1 },
    title,
    noCheckpoint,
    h("div", { class: "state-line" }, status, rate, progress),
    h("div", { class: "buttons" }, join, watch, compute, resume, stop, leave),
    data.element,
    cost,
    limits.element,
  );

  return {
    element,
    reads: (state) => [
      state.phase,
      state.joining,
      state.load,
      state.activity,
      state.contribution,
      state.ownWork.computed > 0,
      state.unitJobs,
      state.jobs,
      state.data,
      state.preferences,
    ],
    update(state) {
      const { phase, contribution, load, preferences } = state;
      const outside = phase === "away" || phase === "failed";
      const computing = contribution.state === "running" || contribution.state === "paused";
      const usable = launchParams.checkpoint !== null;
      const shown = shownActivity(state);
      setAttribute(element, "data-phase", phase);
      setAttribute(element, "data-contribution", contribution.state);
      setAttribute(element, "data-activity", shown);
      setText(title, t("join.title"));
      setText(status, activityText(state));
      setText(rate, rateText(state));
      setText(noCheckpoint, t("join.noCheckpoint"));
      setText(costTitle, t("jobSummary.cost"));
      setText(consent, consentText(state));
      const code = bytes(MEASURED.codeBytes);
      setText(looking, t("join.looking", { code, watch: bytes(MEASURED.watchPerMinute) }));
      setText(visible, t("join.visible"));
      setText(join, t(phase === "failed" ? "join.retry" : "join.button"));
      setAttribute(join, "aria-disabled", state.joining ? "true" : null);
      setText(watch, t("join.watch"));
      setText(compute, computeText(state));
      setText(resume, resumeText(state));
      setText(stop, t("join.stop"));
      setText(leave, t("join.leave"));
      showProgress(progress, phase === "connecting" ? load : null);
      data.update(state);
      limits.update(state);

      const again = contribution.state === "stopped";
      setVisible(noCheckpoint, !usable);
      setVisible(status, shown !== "away");
      setVisible(rate, shown === "computing");
      setVisible(data.element, phase === "connected");
      setVisible(cost, usable && !computing);
      setVisible(limits.element, usable);
      setVisible(join, usable && !computing && !(phase === "connected" && again));
      setVisible(watch, usable && outside);
      setVisible(compute, phase === "connected" && again);
      setVisible(resume, contribution.state === "paused" && contribution.reason !== "hidden");
      setVisible(stop, computing);
      setVisible(leave, phase === "connected" || phase === "connecting");
      setAttribute(element, "data-cap", preferences.dataCapPerDay);
    },
  };
}

function consentText({ preferences }: State): string {
  const { receivedPerMinute, sentPerMinute } = MEASURED;
  const figures = {
    down: bytes(receivedPerMinute),
    up: bytes(sentPerMinute),
    hour: bytes((receivedPerMinute + sentPerMinute) * 60),
    cap: bytes(preferences.dataCapPerDay),
  };
  return `${t("join.consent", figures)} ${t("join.until")}`;
}

function showProgress(bar: HTMLProgressElement, load: State["load"]): void {
  setVisible(bar, load !== null);
  if (load === null) return;
  setAttribute(bar, "data-received", load.received);
  setAttribute(bar, "aria-label", t("join.connecting"));
  if (load.total === null || load.total === 0) bar.removeAttribute("value");
  else bar.value = Math.min(1, load.received / load.total);
}
