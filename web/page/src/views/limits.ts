/** The person's limits: cores, data a day, and when to pause. They can change at any time. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { bytes, count } from "../format.js";
import { t } from "../i18n/index.js";
import { DATA_CAPS } from "../preferences.js";
import type { State } from "../state.js";
import { workersOf } from "../workers.js";
import type { AppContext } from "./view.js";

/** The controls of the limits. */
export function limitsView({ actions, device }: AppContext) {
  const workersMax = Math.max(1, device.cores);
  const slider = h("input", {
    type: "range",
    id: "workers",
    min: 1,
    max: workersMax,
    step: 1,
    "data-testid": "workers",
    oninput: () => {
      setText(sliderValue, count(Number(slider.value)));
      actions.setPreferences({ workers: Number(slider.value) });
    },
  });
  const sliderLabel = h("label", { for: "workers" });
  const sliderValue = h("output", { for: "workers" });
  const sliderRow = h("div", { class: "slider" }, sliderLabel, slider, sliderValue);
  const cap = h("select", {
    id: "data-cap",
    "data-testid": "data-cap",
    onchange: () => actions.setPreferences({ dataCapPerDay: Number(cap.value) }),
  });
  const options = DATA_CAPS.map((value) => h("option", { value }));
  cap.append(...options);
  const capLabel = h("label", { for: "data-cap" });
  const hidden = checkbox("pause-hidden", (on) => actions.setPreferences({ pauseWhenHidden: on }));
  const metered = checkbox("pause-metered", (on) => actions.setPreferences({ pauseOnMetered: on }));
  const battery = h("p", { class: "small" });
  const phone = h("p", { class: "small" });
  const summary = h("h3");
  const element = h(
    "div",
    { class: "limits" },
    summary,
    sliderRow,
    h("p", { class: "cap" }, capLabel, cap),
    hidden.element,
    metered.element,
    battery,
    phone,
  );
  return {
    element,
    update({ preferences }: State) {
      setText(summary, t("join.settings"));
      setText(sliderLabel, t("join.workers"));
      const workers = workersOf(preferences, device);
      if (document.activeElement !== slider) slider.value = String(workers);
      setText(sliderValue, count(workers));
      setVisible(sliderRow, workersMax > 1);
      setText(capLabel, t("join.cap"));
      options.forEach((option, index) => setText(option, bytes(DATA_CAPS[index] ?? 0)));
      cap.value = String(preferences.dataCapPerDay);
      hidden.update(t("join.hidden"), preferences.pauseWhenHidden);
      metered.update(t("join.metered"), preferences.pauseOnMetered);
      setText(battery, t("join.battery"));
      setText(phone, t("join.phone"));
      setVisible(battery, !device.phone);
      setVisible(phone, device.phone);
    },
  };
}

function checkbox(id: string, changed: (on: boolean) => void) {
  const input = h("input", {
    type: "checkbox",
    id,
    "data-testid": id,
    onchange: () => changed(input.checked),
  });
  const label = h("label", { for: id });
  return {
    element: h("p", { class: "check" }, input, label),
    update(text: string, on: boolean) {
      setText(label, text);
      setAttribute(label, "data-on", on);
      input.checked = on;
    },
  };
}
