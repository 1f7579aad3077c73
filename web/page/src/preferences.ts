/** The person's limits for a contribution, stored for the next visit. */

/** The limits of a contribution. */
export interface Preferences {
  /** Web Workers to compute with; null for the device's default. */
  workers: number | null;
  /** Bytes a day, down and up together. */
  dataCapPerDay: number;
  pauseWhenHidden: boolean;
  pauseOnMetered: boolean;
}

/** The caps that the page offers, in bytes a day. */
export const DATA_CAPS = [0.1e9, 0.25e9, 0.5e9, 1e9, 2e9, 5e9, 10e9, 25e9, 100e9] as const;

export const defaultPreferences: Preferences = {
  workers: null,
  dataCapPerDay: 2e9,
  pauseWhenHidden: false,
  pauseOnMetered: true,
};

const STORAGE_KEY = "tequio-preferences";

/** The stored preferences, with the default for values that this page does not offer. */
export function readPreferences(phone: boolean): Preferences {
  const preferences = { ...defaultPreferences, pauseWhenHidden: phone };
  try {
    return parsePreferences(localStorage.getItem(STORAGE_KEY) ?? "{}", preferences);
  } catch {
    // Without storage the choices last for this visit.
    return preferences;
  }
}

export function storePreferences(preferences: Preferences): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(preferences));
  } catch {
    // Storage is forbidden, as above.
  }
}

/** The preferences in a JSON text; fields of a wrong type keep the given default. */
export function parsePreferences(text: string, otherwise: Preferences): Preferences {
  const given: unknown = JSON.parse(text);
  if (typeof given !== "object" || given === null) return otherwise;
  const { workers, dataCapPerDay, pauseWhenHidden, pauseOnMetered } = given as Partial<Preferences>;
  return {
    workers: Number.isInteger(workers) && Number(workers) > 0 ? Number(workers) : otherwise.workers,
    dataCapPerDay: DATA_CAPS.find((cap) => cap === dataCapPerDay) ?? otherwise.dataCapPerDay,
    pauseWhenHidden:
      typeof pauseWhenHidden === "boolean" ? pauseWhenHidden : otherwise.pauseWhenHidden,
    pauseOnMetered: typeof pauseOnMetered === "boolean" ? pauseOnMetered : otherwise.pauseOnMetered,
  };
}
