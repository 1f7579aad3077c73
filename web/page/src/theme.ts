/** Light, dark, or as the device: the person's choice, stored for the next visit. */

export type Theme = "auto" | "light" | "dark";
const THEMES: readonly Theme[] = ["auto", "light", "dark"];
const STORAGE_KEY = "tequio-theme";
let current: Theme = "auto";

/** The current theme. */
export function theme(): Theme {
  return current;
}

/** Applies the stored choice, and calls `changed` when the device's colour scheme changes. */
export function startTheme(changed: () => void): void {
  try {
    apply(THEMES.find((known) => known === localStorage.getItem(STORAGE_KEY)) ?? "auto");
  } catch {
    apply("auto");
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

/** Switches to the next of the three themes, and stores the choice. */
export function cycleTheme(): void {
  apply(THEMES[(THEMES.indexOf(current) + 1) % THEMES.length] ?? "auto");
  try {
    localStorage.setItem(STORAGE_KEY, current);
  } catch {
    // Without storage the choice lasts for this visit.
  }
}

/** A colour of the style sheet, for use in canvases. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function apply(next: Theme): void {
  current = next;
  if (next === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
}
