/** The opening words, and the card where a person agrees to compute. */
import { defaultWorkers } from "tequio";
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";

export function heroView(): View {
  const title = h("h1");
  const lead = h("p", { class: "lead" });
  return {
    element: h("section", { class: "hero" }, title, lead),
    update() {
      say(title, t("hero.title"));
      say(lead, t("hero.lead"));
    },
  };
}

export function joinView({ actions, place, device }: Context): View {
  const workersMax = Math.max(1, device.cores);
  const slider = h("input", { type: "range", id: "workers", min: 1, max: workersMax, step: 1, value: defaultWorkers(device), "data-testid": "workers" });
  const workers = () => Number(slider.value);
  const title = h("h2");
  const consent = h("p", { "data-testid": "consent" });
  const seen = h("p", { class: "small" });
  const sliderLabel = h("label", { for: "workers" });
  const sliderValue = h("output", { for: "workers" });
  const sliderRow = h("div", { class: "slider" }, sliderLabel, slider, sliderValue);
  const phone = h("p", { class: "small" });
  const status = h("p", { class: "status", role: "status", "data-testid": "contribution" });
  const noCheckpoint = h("p", { class: "notice", "data-testid": "no-checkpoint" });
  const join = h("button", { class: "primary", "data-testid": "join", onclick: () => void actions.join(workers()) });
  const watch = h("button", { "data-testid": "watch", onclick: () => void actions.join(null) });
  const compute = h("button", { class: "primary", "data-testid": "compute", onclick: () => actions.compute(workers()) });
  const stop = h("button", { "data-testid": "stop", onclick: () => actions.stop() });
  const leave = h("button", { class: "quiet", "data-testid": "leave", onclick: () => void actions.leave() });
  slider.addEventListener("input", () => {
    say(sliderValue, slider.value);
    actions.setWorkers(workers());
  });
  const element = h(
    "section",
    { class: "join", "aria-labelledby": "join-title" },
    title,
    noCheckpoint,
    status,
    consent,
    sliderRow,
    phone,
    h("div", { class: "buttons" }, join, watch, compute, stop, leave),
    seen,
  );
  set(title, "id", "join-title");

  return {
    element,
    update(state) {
      const outside = state.phase === "away" || state.phase === "failed";
      const computing = state.contribution.state === "running" || state.contribution.state === "paused";
      const usable = place.checkpoint !== null;
      set(element, "data-phase", state.phase);
      set(element, "data-contribution", state.contribution.state);
      say(title, t("join.title"));
      say(consent, t("join.consent", { data: t("join.data") }));
      say(seen, t("join.seen"));
      say(sliderLabel, t("join.workers"));
      say(sliderValue, slider.value);
      say(phone, t("join.phone"));
      say(noCheckpoint, t("join.noCheckpoint"));
      say(status, statusText(state));
      say(join, state.phase === "failed" ? t("join.retry") : state.phase === "connecting" ? t("join.connecting") : t("join.button"));
      say(watch, t("join.watch"));
      say(compute, t("join.start"));
      say(stop, t("join.stop"));
      say(leave, t("join.leave"));
      join.disabled = state.phase === "connecting";
      show(noCheckpoint, !usable);
      show(status, state.phase === "connected");
      show(consent, usable && !computing);
      show(seen, usable && outside);
      show(sliderRow, usable && workersMax > 1);
      show(phone, usable && device.phone);
      show(join, usable && (outside || state.phase === "connecting"));
      show(watch, usable && outside);
      show(compute, state.phase === "connected" && !computing);
      show(stop, computing);
      show(leave, state.phase === "connected" || state.phase === "connecting");
    },
  };
}

function statusText({ contribution }: State): string {
  switch (contribution.state) {
    case "running":
      return contribution.workers === 1 ? t("join.runningOne") : t("join.running", { workers: contribution.workers });
    case "paused":
      return t(contribution.reason === "battery" ? "join.paused.battery" : "join.paused.hidden");
    default:
      return t("join.watching");
  }
}
