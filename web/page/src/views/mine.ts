/** What this device has done, as the ledger proves it, and the proof to keep or to share. */
import type { Context, View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { canShareFiles } from "../files.js";
import { count, operations, share } from "../format.js";
import { t } from "../i18n/index.js";
import { shareOf } from "../jobs.js";
import { shownJob, type State } from "../state.js";
import { savingView } from "./saving.js";

export function mineView({ actions, store, announcer }: Context): View {
  const title = h("h2", { id: "mine-title" });
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
      const mine = share(shareOf(record?.contributors ?? [], node));
      const text = t("mine.shareText", { share: mine, job: name });
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
    { class: "mine", "aria-labelledby": "mine-title", "data-part": "mine", tabindex: -1 },
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
      state.mine,
      state.account,
      state.record,
      state.node,
      shownJob(state),
      state.contribution.state,
    ],
    update(state) {
      // The ledger's figure covers former visits, the events are ahead of it by some blocks,
      // and the job knows its own.
      const { account, mine } = state;
      const shown = shownJob(state);
      const accepted = Math.max(account?.units ?? 0, mine.units, shown?.unitsByMe ?? 0);
      show(element, accepted > 0 || mine.computed > 0 || state.contribution.state !== "none");
      say(title, t("mine.title"));
      units.update(t("mine.units"), count(accepted));
      set(units.value, "data-units", accepted);
      const done = Math.max(account?.macs ?? 0, mine.macs);
      macs.update(t("mine.macs"), operations(done));
      set(macs.value, "data-operations", done);
      reputation.update(t("mine.reputation"), count(account?.reputation ?? 0));
      set(reputation.value, "data-reputation", account?.reputation ?? 0);
      const busy = t("mine.busy", { count: count(mine.busy) });
      say(now, `${busy} · ${t("mine.computed", { count: count(mine.computed) })}`);
      set(now, "data-computed", mine.computed);
      say(note, t("mine.note"));

      const share = partOf(state);
      say(part, share?.text ?? "");
      set(part, "data-share", share?.fraction);
      show(part, share !== null);
      show(proof, share?.committed === true);
      say(keep, t("mine.proof"));
      say(give, t("mine.share"));
      show(give, canShareFiles());
      say(proofNote, t("mine.proofNote"));
    },
  };
}

/** This device's part of the shown job; null where it has none. */
function partOf(state: State): { fraction: number; committed: boolean; text: string } | null {
  const job = shownJob(state);
  if (job === null) return null;
  const committed = state.record?.job === job.id;
  const contributors = committed ? (state.record?.contributors ?? []) : (job.contributors ?? []);
  const fraction = shareOf(contributors, state.node);
  if (fraction === 0) return null;
  const values = { share: share(fraction), job: job.name || job.id };
  return { fraction, committed, text: t(committed ? "mine.shareFinal" : "mine.shareNow", values) };
}

function figure(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, term, value),
    value,
    update(label: string, text: string) {
      say(term, label);
      say(value, text);
    },
  };
}
