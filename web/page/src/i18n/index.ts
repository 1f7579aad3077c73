/** The page's language and locale: chosen by the person, else the browser's, else English. */
import { en, type MessageKey } from "./en.js";
import { es } from "./es.js";

const languages = { en, es };
export type Language = keyof typeof languages;
export type { MessageKey };

/** Locales for formats if the browser names no region: "es" alone is Spain's in browsers. */
const LOCALES: Record<Language, string> = { en: "en", es: "es-MX" };
const STORAGE_KEY = "tequio-language";
let current: Language = initial();

export function language(): Language {
  return current;
}

/** The locale for numbers and times: the browser's first with a region in this language. */
export function locale(): string {
  return localeOf(current, globalThis.navigator?.languages ?? []);
}

/** The locale of a language among those that a person prefers. */
export function localeOf(wanted: Language, preferred: readonly string[]): string {
  const regional = preferred.find((tag) => tag.toLowerCase().startsWith(`${wanted}-`));
  // es-419 is all of Latin America; its formats differ from Mexico's in nothing but the name.
  return regional === undefined || regional === "es-419" ? LOCALES[wanted] : regional;
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
  const message = languages[current][key];
  return message.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The message of a key that is made from a code, or null if there is no such message. */
export function tMaybe(key: string, values: Record<string, string | number> = {}): string | null {
  return isMessage(key) ? t(key, values) : null;
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
