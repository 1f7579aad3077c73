/**
 * Assembles the views. A view builds its element once, and updates it when one of the parts of the
 * state that it reads has changed.
 */
import { Announcer } from "./announcer.js";
import { h } from "./dom.js";
import { keepFocus } from "./focus.js";
import { t } from "./i18n/index.js";
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
import type { AppContext, View } from "./views/view.js";

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
