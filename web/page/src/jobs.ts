/** Selects the job that the page shows, and the job whose model the page runs. Pure. */
import type { Job } from "tequio";

/**
 * The id of the job to show: the chosen one while it exists; else a running one, preferably the one
 * already shown; else the one shown before, so that a finished job stays until another runs; else
 * the newest finished one. `jobs` has the newest last.
 */
export function followJob(
  jobs: readonly Job[],
  shown: string | null,
  chosen: string | null,
): string | null {
  const has = (id: string | null) => jobs.find((job) => job.id === id);
  const running = jobs.filter(({ state }) => state === "running");
  const job =
    has(chosen) ??
    running.find(({ id }) => id === shown) ??
    running.at(-1) ??
    has(shown) ??
    jobs.findLast(({ state }) => state === "final") ??
    jobs.at(-1);
  return job?.id ?? null;
}

/** The job whose model the page runs: the shown one if it is final, else the newest final one. */
export function modelJob(jobs: readonly Job[], shown: string | null): Job | null {
  const job = jobs.find(({ id }) => id === shown);
  if (job?.state === "final") return job;
  return jobs.findLast(({ state }) => state === "final") ?? null;
}

/** One contributor's share from 0 to 1: of the operations, or of the units if there are none. */
export function shareOf(
  contributors: readonly { id: string; units: number; macs: number }[],
  id: string | null,
): number {
  const sum = (field: "units" | "macs") => contributors.reduce((all, one) => all + one[field], 0);
  const own = contributors.find((one) => one.id === id);
  if (own === undefined) return 0;
  const [macs, units] = [sum("macs"), sum("units")];
  if (macs > 0) return own.macs / macs;
  return units > 0 ? own.units / units : 0;
}
