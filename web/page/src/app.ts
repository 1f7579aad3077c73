/** Puts the views together. A view builds its element once and changes it with the state. */
import type { Device, Prediction } from "tequio";
import { h, set, show } from "./dom.js";
import type { Place } from "./place.js";
import type { State } from "./state.js";
import type { Store } from "./store.js";
import { contributorsView } from "./views/contributors.js";
import { drawView } from "./views/draw.js";
import { errorView } from "./views/error.js";
import { footerView, headerView } from "./views/frame.js";
import { heroView, joinView } from "./views/join.js";
import { logView } from "./views/log.js";
import { mineView } from "./views/mine.js";
import { networkView } from "./views/network.js";
import { trainingView } from "./views/training.js";
import { t } from "./i18n/index.js";

/** What a person can do. */
export interface Actions {
  join(workers: number | null): Promise<void>;
  compute(workers: number): void;
  setWorkers(workers: number): void;
  stop(): void;
  leave(): Promise<void>;
  chooseJob(job: string): void;
  predict(features: Float64Array | number[]): Prediction | null;
}

/** What every view is given. */
export interface Context {
  store: Store;
  actions: Actions;
  place: Place;
  device: Pick<Device, "cores" | "phone">;
}

/** A part of the page. */
export interface View {
  element: HTMLElement;
  update(state: State): void;
}

export function mount(root: HTMLElement, context: Context): void {
  const top = [headerView(context), errorView()];
  // These have nothing to say before the page has been in the network.
  const later = [mineView(), contributorsView(), logView()] as const;
  const [mine, contributors, log] = later;
  const parts = [heroView(), joinView(context), trainingView(context), mine, networkView(), drawView(context), contributors, log];
  const footer = footerView(context);
  const skip = h("a", { class: "skip", href: "#main" });
  const main = h("main", { id: "main", tabindex: -1 }, ...parts.map(({ element }) => element));
  root.replaceChildren(skip, ...top.map(({ element }) => element), main, footer.element);
  // The fragment carries the checkpoint's hash: a jump link must not replace it.
  skip.addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  context.store.subscribe((state) => {
    skip.textContent = t("skip");
    const been = state.phase === "connected" || state.log.length > 0;
    set(main, "data-been", been);
    for (const view of later) show(view.element, been);
    for (const view of [...top, ...parts, footer]) view.update(state);
  });
}
