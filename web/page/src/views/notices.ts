/** Notices of problems that the person can correct: a wrong clock, storage that keeps nothing. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { age } from "../format.js";
import { t } from "../i18n/index.js";
import type { View } from "./view.js";

/** A smaller offset of the clock is harmless. */
const CLOCK_OFFSET_MS_MIN = 5_000;

/** The notices about the clock and the storage. */
export function noticesView(): View {
  const clock = h("p", { class: "notice", "data-testid": "clock-notice" });
  const storage = h("p", { class: "notice", "data-testid": "storage-notice" });
  const element = h("div", { class: "notices", role: "status" }, clock, storage);
  return {
    element,
    reads: ({ clockOffsetMs, storage, identityLost }) => [clockOffsetMs, storage, identityLost],
    update(state) {
      const offsetMs = state.clockOffsetMs ?? 0;
      const off = Math.abs(offsetMs) >= CLOCK_OFFSET_MS_MIN;
      const key = offsetMs > 0 ? "clock.ahead" : "clock.behind";
      setText(clock, off ? t(key, { time: age(Math.abs(offsetMs)) }) : "");
      setAttribute(clock, "data-offset-ms", off ? offsetMs : null);
      setVisible(clock, off);
      const lost = state.identityLost ? "storage.lost" : null;
      const kept = state.storage === "visit" ? "storage.visit" : lost;
      setText(storage, kept === null ? "" : t(kept));
      setVisible(storage, kept !== null);
    },
  };
}
