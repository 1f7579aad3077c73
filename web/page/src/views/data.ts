/** The transferred data: in this visit, its rate, and the day's bytes beside their cap. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { age, bytes } from "../format.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";

/** The data used and the day's cap. */
export function dataView() {
  const used = h("p", { "data-testid": "data-rate" });
  const meter = h("meter", { "data-testid": "data-meter", min: 0 });
  const today = h("p", { "data-testid": "data-today" });
  const element = h("div", { class: "data" }, used, meter, today);
  return {
    element,
    update({ data, preferences, contribution }: State) {
      if (data === null) return;
      const computing = contribution.state === "running" || contribution.state === "paused";
      const cap = data.capPerDay ?? preferences.dataCapPerDay;
      const total = bytes(data.received + data.sent);
      setText(used, t("data.used", { total, rate: bytes(data.perMinute) }));
      setAttribute(used, "data-per-minute", data.perMinute);
      setText(today, todayText(data, computing ? cap : null));
      setAttribute(today, "data-today", data.today);
      setAttribute(today, "data-cap", cap);
      setVisible(meter, computing);
      meter.max = cap;
      meter.high = cap * 0.8;
      meter.value = Math.min(cap, data.today);
      const label = { today: bytes(data.today), cap: bytes(cap) };
      setAttribute(meter, "aria-label", t("data.label", label));
    },
  };
}

function todayText(data: NonNullable<State["data"]>, cap: number | null): string {
  const today = bytes(data.today);
  if (cap === null) return t("data.todayPlain", { today });
  const parts = [t("data.today", { today, cap: bytes(cap) })];
  const left = cap - data.today;
  if (data.perMinute > 0 && left > 0) {
    const minutes = left / data.perMinute;
    parts.push(
      data.projectedToday > cap
        ? t("data.reached", { time: age(minutes * 60_000) })
        : t("data.projected", { projected: bytes(data.projectedToday) }),
    );
  }
  return `${parts.join("; ")}.`;
}
