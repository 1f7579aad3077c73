/** The opening words, and the card where a person reads what it costs, agrees, and stops. */
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { MEASURED } from "../figures.js";
import { bytes } from "../format.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";
import { activityText, rateText, shownActivity } from "./activity.js";
import { dataView } from "./data.js";
import { limitsView } from "./limits.js";

export function heroView(cause: HTMLElement): View {
  const title = h("h1");
  const lead = h("p", { class: "lead" });
  return {
    element: h("section", { class: "hero" }, title, lead, cause),
    reads: () => [],
    update() {
      say(title, t("hero.title"));
      say(lead, t("hero.lead"));
    },
  };
}

export function joinView(context: Context): View {
  const { actions, place } = context;
  const title = h("h2", { id: "join-title" });
  const costTitle = h("h3");
  const consent = h("p", { "data-testid": "consent" });
  const looking = h("p", { class: "small" });
  const seen = h("p", { class: "small" });
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
    // The focus does not come here by itself when another button disappears.
    "data-focus-last": true,
    onclick: () => void actions.leave(),
  });
  const cost = h("div", { class: "cost" }, costTitle, consent, looking, seen);
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
      state.jobs,
      state.data,
      state.preferences,
    ],
    update(state) {
      const { phase, contribution, load, preferences } = state;
      const outside = phase === "away" || phase === "failed";
      const computing = contribution.state === "running" || contribution.state === "paused";
      const usable = place.checkpoint !== null;
      const shown = shownActivity(state);
      set(element, "data-phase", phase);
      set(element, "data-contribution", contribution.state);
      set(element, "data-activity", shown);
      say(title, t("join.title"));
      say(status, activityText(state));
      say(rate, rateText(state));
      say(noCheckpoint, t("join.noCheckpoint"));
      say(costTitle, t("cause.cost"));
      say(consent, consentText(state));
      const code = bytes(MEASURED.codeBytes);
      say(looking, t("join.looking", { code, watch: bytes(MEASURED.watchPerMinute) }));
      say(seen, t("join.seen"));
      say(join, t(phase === "failed" ? "join.retry" : "join.button"));
      set(join, "aria-disabled", state.joining ? "true" : null);
      say(watch, t("join.watch"));
      say(compute, t("join.start"));
      say(resume, t("join.resume"));
      say(stop, t("join.stop"));
      say(leave, t("join.leave"));
      showProgress(progress, phase === "connecting" ? load : null);
      data.update(state);
      limits.update(state);

      const again = contribution.state === "stopped";
      show(noCheckpoint, !usable);
      show(status, shown !== "away");
      show(rate, shown === "computing");
      show(data.element, phase === "connected");
      show(cost, usable && !computing);
      show(limits.element, usable);
      show(join, usable && !computing && !(phase === "connected" && again));
      show(watch, usable && outside);
      show(compute, phase === "connected" && again);
      show(resume, contribution.state === "paused" && contribution.reason !== "hidden");
      show(stop, computing);
      show(leave, phase === "connected" || phase === "connecting");
      set(element, "data-cap", preferences.dataCapPerDay);
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
  show(bar, load !== null);
  if (load === null) return;
  set(bar, "data-received", load.received);
  set(bar, "aria-label", t("join.connecting"));
  if (load.total === null || load.total === 0) bar.removeAttribute("value");
  else bar.value = Math.min(1, load.received / load.total);
}
