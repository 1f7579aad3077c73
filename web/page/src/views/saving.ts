/** The line that says how the saving of a file goes. */
import type { Saved } from "../app.js";
import type { Announcer } from "../announcer.js";
import { h, say, show } from "../dom.js";
import { bytes } from "../format.js";
import { t } from "../i18n/index.js";

export function savingView(announcer: Announcer) {
  const element = h("p", { class: "small", "data-testid": "saved", hidden: true });
  const report = (text: string) => {
    say(element, text);
    show(element, text !== "");
    announcer.announce("saving", text);
  };
  return {
    element,
    /** Follows a file that is being saved. A failure is shown as the page's error. */
    async run(saving: Promise<Saved>): Promise<void> {
      report(t("download.working"));
      const saved = await saving;
      const size = bytes(saved?.size ?? 0);
      report(saved === null ? "" : t("download.done", { name: saved.name, size }));
    },
  };
}
