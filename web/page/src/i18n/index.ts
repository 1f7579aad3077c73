/** The page's language and locale: the person's choice, else the browser's, else English. */
import { en, type MessageKey } from "./en.js";
import { es } from "./es.js";

const languages = { en, es };
export type Language = keyof typeof languages;
export type { MessageKey };

/** Locales for formats if the browser names no region. Browsers format "es" alone as in Spain. */
const LOCALES: Record<Language, string> = { en: "en", es: "es-MX" };
const STORAGE_KEY = "tequio-language";
let current: Language = initial();

/** The current language. */
export function language(): Language {
  return current;
}

/** The locale for numbers and times: the browser's first one of this language with a region. */
export function locale(): string {
  return localeOf(current, globalThis.navigator?.languages ?? []);
}

/** The locale of a language among the person's preferred ones. */
export function localeOf(language: Language, preferred: readonly string[]): string {
  const regional = preferred.find((tag) => tag.toLowerCase().startsWith(`${language}-`));
  // es-419 is all of Latin America; its formats equal Mexico's.
  return regional === undefined || regional === "es-419" ? LOCALES[language] : regional;
}

/** Sets the language, and stores the choice. */
export function chooseLanguage(next: Language): void {
  current = next;
  try {
    localStorage.setItem(STORAGE_KEY, next);
  } catch {
    // Without storage the choice lasts for this visit.
  }
}

/** The message in the page's language with its `{values}` inserted. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  const message = languages[current][key];
  return message.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The message of a key that contains a code, or null if there is no such message. */
export function tMaybe(key: string, values: Record<string, string | number> = {}): string | null {
  return isMessage(key) ? t(key, values) : null;
}

/** Whether a message exists, for keys that contain a code of a peer or of the package. */
export function isMessage(key: string): key is MessageKey {
  return Object.hasOwn(en, key);
}

function initial(): Language {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    if (stored === "en" || stored === "es") return stored;
  } catch {
    // Storage is forbidden, as above.
  }
  for (const tag of globalThis.navigator?.languages ?? []) {
    const base = tag.slice(0, 2).toLowerCase();
    if (base === "es" || base === "en") return base;
  }
  return "en";
}
