/** How many Web Workers a contribution runs, and how many workers take part in a job. */
import { defaultWorkers, type Job } from "tequio";
import type { Preferences } from "./preferences.js";

/** The workers to start: the person's number within the device's cores, or the default. */
export function workersOf(
  { workers }: Pick<Preferences, "workers">,
  device: { cores: number; phone: boolean },
): number {
  return Math.min(Math.max(1, device.cores), Math.max(1, workers ?? defaultWorkers(device)));
}

/** The workers that take part in a job now; null where nobody reports it. */
export function workersNow(job: Job): { full: number; browsers: number } | number | null {
  const given: unknown = job.workersNow;
  if (typeof given === "number") return given;
  if (typeof given !== "object" || given === null) return null;
  const { full, browsers } = given as { full?: unknown; browsers?: unknown };
  return typeof full === "number" && typeof browsers === "number" ? { full, browsers } : null;
}
