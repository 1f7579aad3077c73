/** This device's contribution, as the ledger proves it, and the proof to keep or to share. */
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { canShareFiles } from "../files.js";
import { count, operations, share } from "../format.js";
import { t } from "../i18n/index.js";
import { shareOf } from "../jobs.js";
import { shownJob, type State } from "../state.js";
import { savingView } from "./saving.js";
import type { AppContext, View } from "./view.js";

/** The person's contribution and its proof. */
export function contributionView({ actions, store, announcer }: AppContext): View {
  const title = h("h2", { id: "contribution-title" });
  const part = h("p", { class: "my-share", "data-testid": "my-share" });
  const units = figure("my-units");
  const macs = figure("my-operations");
  const reputation = figure("my-reputation");
  const now = h("p", { class: "small", "data-testid": "my-work" });
  const note = h("p", { class: "small" });
  const saving = savingView(announcer);
  const job = () => store.state.job ?? "";
  const keep = h("button", {
    "data-testid": "save-proof",
    onclick: () => void saving.run(actions.saveProof(job())),
  });
  const give = h("button", {
    "data-testid": "share-proof",
    onclick: () => {
      const { record, node, jobs } = store.state;
      const name = jobs.find(({ id }) => id === job())?.name ?? "";
      const own = share(shareOf(record?.contributors ?? [], node));
      const text = t("contribution.shareText", { share: own, job: name });
      void saving.run(actions.shareProof(job(), text));
    },
  });
  const proofNote = h("p", { class: "small" });
  const buttons = h("div", { class: "buttons" }, keep, give);
  const proof = h("div", { class: "proof" }, buttons, saving.element, proofNote);
  const figures = h(
    "dl",
    { class: "figures" },
    units.element,
    macs.element,
    reputation.element,
  );
  const element = h(
    "section",
    {
      class: "contribution",
      "aria-labelledby": "contribution-title",
      "data-part": "contribution",
      tabindex: -1,
    },
    title,
    part,
    proof,
    figures,
    now,
    note,
  );
  return {
    element,
    reads: (state) => [
      state.ownWork,
      state.account,
      state.record,
      state.node,
      shownJob(state),
      state.contribution.state,
    ],
    update(state) {
      // The ledger includes earlier visits, the events are some blocks ahead of it, and the job
      // has its own count. The largest figure is shown.
      const { account, ownWork } = state;
      const shown = shownJob(state);
      const accepted = Math.max(account?.units ?? 0, ownWork.units, shown?.unitsByMe ?? 0);
      setVisible(
        element,
        accepted > 0 || ownWork.computed > 0 || state.contribution.state !== "none",
      );
      setText(title, t("contribution.title"));
      units.update(t("contribution.units"), count(accepted));
      setAttribute(units.value, "data-units", accepted);
      const done = Math.max(account?.macs ?? 0, ownWork.macs);
      macs.update(t("contribution.macs"), operations(done));
      setAttribute(macs.value, "data-operations", done);
      reputation.update(t("contribution.reputation"), count(account?.reputation ?? 0));
      setAttribute(reputation.value, "data-reputation", account?.reputation ?? 0);
      const busy = t("contribution.busy", { count: count(ownWork.busy) });
      setText(now, `${busy} · ${t("contribution.computed", { count: count(ownWork.computed) })}`);
      setAttribute(now, "data-computed", ownWork.computed);
      setText(note, t("contribution.note"));

      const own = ownShare(state);
      setText(part, own?.text ?? "");
      setAttribute(part, "data-share", own?.fraction);
      setVisible(part, own !== null);
      setVisible(proof, own?.committed === true);
      setText(keep, t("contribution.proof"));
      setText(give, t("contribution.share"));
      setVisible(give, canShareFiles());
      setText(proofNote, t("contribution.proofNote"));
    },
  };
}

/** This device's share of the shown job; null if it has none. */
function ownShare(state: State): { fraction: number; committed: boolean; text: string } | null {
  const job = shownJob(state);
  if (job === null) return null;
  const committed = state.record?.job === job.id;
  const contributors = committed ? (state.record?.contributors ?? []) : (job.contributors ?? []);
  const fraction = shareOf(contributors, state.node);
  if (fraction === 0) return null;
  const values = { share: share(fraction), job: job.name || job.id };
  return {
    fraction,
    committed,
    text: t(committed ? "contribution.shareFinal" : "contribution.shareNow", values),
  };
}

function figure(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, term, value),
    value,
    update(label: string, text: string) {
      setText(term, label);
      setText(value, text);
    },
  };
}
