/** The tab's title, and what is announced when the activity changes. */
import type { Context, View } from "../app.js";
import { activityText, shownActivity, titleText } from "./activity.js";

export function titleView({ announcer }: Context): View {
  return {
    reads: ({ phase, activity, jobs, load }) => [phase, activity, jobs, load],
    update(state) {
      const title = titleText(state);
      if (document.title !== title) document.title = title;
      // The bytes of loading are shown, not announced.
      if (shownActivity(state) !== "connecting") announcer.announce("activity", activityText(state));
    },
  };
}
