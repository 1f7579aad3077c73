/**
 * Assembles the views. A view builds its element once, and updates it when one of the parts of the
 * state that it reads has changed.
 */
import type { Device, Prediction } from "tequio";
import { Announcer } from "./announcer.js";
import { h } from "./dom.js";
import { keepFocus } from "./focus.js";
import { t } from "./i18n/index.js";
import type { LaunchParams } from "./launch-params.js";
import type { Preferences } from "./preferences.js";
import type { State } from "./state.js";
import type { Store } from "./store.js";
import { jobSummaryView } from "./views/job-summary.js";
import { contributorsView } from "./views/contributors.js";
import { drawView } from "./views/draw.js";
import { errorView } from "./views/error.js";
import { footerView, headerView } from "./views/header-footer.js";
import { heroView, joinView } from "./views/join.js";
import { logView } from "./views/log.js";
import { contributionView } from "./views/contribution.js";
import { networkView } from "./views/network.js";
import { noticesView } from "./views/notices.js";
import { titleView } from "./views/title.js";
import { trainingView } from "./views/training.js";

/** A saved file, or null if that failed; the state holds the error. */
export type Saved = { name: string; size: number } | null;

/** The person's actions. */
export interface Actions {
  /** Connects without computing. */
  watch(): Promise<void>;
  /** Connects if necessary, and computes within the preferences. */
  join(): Promise<void>;
  setPreferences(preferences: Partial<Preferences>): void;
  /** Continues in spite of the reason to pause. */
  resume(): void;
  stop(): void;
  leave(): Promise<void>;
  /** Shows a job; null follows the running one. */
  chooseJob(job: string | null): void;
  predict(features: Float64Array | number[]): Prediction | null;
  saveProof(job: string): Promise<Saved>;
  /** Passes the proof to the device's share sheet, or saves it without one. */
  shareProof(job: string, text: string): Promise<Saved>;
  saveModel(job: string, file: "model" | "record"): Promise<Saved>;
}

/** The dependencies of the views. */
export interface AppContext {
  store: Store;
  actions: Actions;
  launchParams: LaunchParams;
  device: Pick<Device, "cores" | "phone">;
  announcer: Announcer;
}

/** A part of the page. */
export interface View {
  element?: HTMLElement;
  /** The parts of the state that the view shows. It updates when one of them is another object. */
  reads(state: State): readonly unknown[];
  update(state: State): void;
}

/** Builds the page in `root` and updates it at every change of the state. */
export function mount(root: HTMLElement, given: Omit<AppContext, "announcer">): void {
  const context: AppContext = { ...given, announcer: new Announcer() };
  const [header, error, notices] = [headerView(context), errorView(), noticesView()];
  const jobSummary = jobSummaryView(context);
  const [hero, join] = [heroView(jobSummary.element), joinView(context)];
  const [training, draw] = [trainingView(context), drawView(context)];
  const aside = [contributionView(context), contributorsView(), networkView(), logView(context)];
  const footer = footerView(context);
  const views: View[] = [header, error, notices, hero, jobSummary, join, training, draw, ...aside];
  views.push(footer, titleView(context));

  const elements = (parts: View[]) => parts.flatMap(({ element }) => element ?? []);
  const skip = h("a", { class: "skip", href: "#main" });
  const main = h(
    "main",
    { id: "main", tabindex: -1 },
    h("div", { class: "opening" }, ...elements([error, notices, hero, join])),
    h("div", { class: "column" }, ...elements([training, draw])),
    h("div", { class: "column aside" }, ...elements(aside)),
  );
  const live = context.announcer.element;
  root.replaceChildren(skip, ...elements([header]), main, ...elements([footer]), live);
  // The fragment carries the checkpoint's hash: a jump link must not replace it.
  skip.addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });

  const seen = new Map<View, readonly unknown[]>();
  let shown = -1;
  context.store.subscribe((state, appearance) => {
    const all = appearance !== shown;
    shown = appearance;
    keepFocus(() => {
      if (all) skip.textContent = t("skip");
      for (const view of views) {
        const reads = view.reads(state);
        const before = seen.get(view);
        if (!all && before && reads.every((value, index) => Object.is(value, before[index]))) {
          continue;
        }
        seen.set(view, reads);
        view.update(state);
      }
    });
  });
}
