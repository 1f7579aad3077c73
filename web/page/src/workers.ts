/** How many Web Workers a contribution runs. */
import { defaultWorkers } from "tequio";
import type { Preferences } from "./preferences.js";

/** The number of workers: the person's choice within the device's cores, or the default. */
export function workersOf(
  { workers }: Pick<Preferences, "workers">,
  device: { cores: number; phone: boolean },
): number {
  return Math.min(Math.max(1, device.cores), Math.max(1, workers ?? defaultWorkers(device)));
}
