/** The page's language: chosen by the person, else the browser's, else English. */
import { en, type MessageKey } from "./en.js";
import { es } from "./es.js";

const languages = { en, es };
export type Language = keyof typeof languages;
export type { MessageKey };

const STORAGE_KEY = "tequio-language";
let current: Language = initial();

export function language(): Language {
  return current;
}

export function chooseLanguage(next: Language): void {
  current = next;
  try {
    localStorage.setItem(STORAGE_KEY, next);
  } catch {
    // Without storage the choice lasts for this visit.
  }
}

/** The message in the page's language with its `{values}` put in. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return languages[current][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Whether there is such a message: for keys made from codes that a peer or the package chose. */
export function isMessage(key: string): key is MessageKey {
  return Object.hasOwn(en, key);
}

function initial(): Language {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    if (stored === "en" || stored === "es") return stored;
  } catch {
    // As above.
  }
  for (const wanted of globalThis.navigator?.languages ?? []) {
    const base = wanted.slice(0, 2).toLowerCase();
    if (base === "es" || base === "en") return base;
  }
  return "en";
}
