/** Keeps the keyboard's focus in its part of the page when an action hides the focused control. */

const FOCUSABLE = "button, select, input, textarea, a[href], summary, [tabindex]";

/** Runs `update`. If it hides the focused element, focuses another one of the same part. */
export function keepFocus(update: () => void): void {
  const before = document.activeElement;
  const part = before?.closest<HTMLElement>("[data-part]") ?? null;
  const anchor = before instanceof HTMLElement && before !== document.body ? before : null;
  update();
  if (anchor === null || isVisible(anchor)) return;
  const next = [...(part?.querySelectorAll<HTMLElement>(FOCUSABLE) ?? [])].find(canTakeFocus);
  // The part itself takes focus from scripts, so that a screen reader continues from there.
  (next ?? part)?.focus({ preventScroll: true });
}

function canTakeFocus(element: HTMLElement): boolean {
  return isVisible(element) && element.tabIndex >= 0 && !element.hasAttribute("data-focus-last");
}

function isVisible(element: HTMLElement): boolean {
  return element.isConnected && element.getClientRects().length > 0;
}
