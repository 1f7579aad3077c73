/** Shows the progress of saving a file. */
import type { Announcer } from "../announcer.js";
import { h, setText, setVisible } from "../dom.js";
import { bytes } from "../format.js";
import { t } from "../i18n/index.js";
import type { Saved } from "./view.js";

/** A line with the progress of saving a file. */
export function savingView(announcer: Announcer) {
  const element = h("p", { class: "small", "data-testid": "saved", hidden: true });
  const report = (text: string) => {
    setText(element, text);
    setVisible(element, text !== "");
    announcer.announce("saving", text);
  };
  return {
    element,
    /** Shows the progress of `saving`. The page's error shows a failure. */
    async run(saving: Promise<Saved>): Promise<void> {
      report(t("download.working"));
      const saved = await saving;
      const size = bytes(saved?.size ?? 0);
      report(saved === null ? "" : t("download.done", { name: saved.name, size }));
    },
  };
}
