/** The tab's title, and the announcement of a change of the activity. */
import { activityText, shownActivity, titleText } from "./activity.js";
import type { AppContext, View } from "./view.js";

/** Updates the tab's title and announces the activity. */
export function titleView({ announcer }: AppContext): View {
  return {
    reads: ({ phase, activity, jobs, load, contribution, unitJobs }) => [
      phase, activity, jobs, load, contribution, unitJobs,
    ],
    update(state) {
      const title = titleText(state);
      if (document.title !== title) document.title = title;
      // The page shows the loaded bytes without announcing them.
      if (shownActivity(state) !== "connecting") {
        announcer.announce("activity", activityText(state));
      }
    },
  };
}
