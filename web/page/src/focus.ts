/** Keeps the keyboard's focus where the person is when an action hides the control it was on. */

const FOCUSABLE = "button, select, input, textarea, a[href], summary, [tabindex]";

/** Runs `update`; if it hid or removed the focused element, focuses the next one of its part. */
export function keepFocus(update: () => void): void {
  const before = document.activeElement;
  const part = before?.closest<HTMLElement>("[data-part]") ?? null;
  const anchor = before instanceof HTMLElement && before !== document.body ? before : null;
  update();
  if (anchor === null || isVisible(anchor)) return;
  const next = [...(part?.querySelectorAll<HTMLElement>(FOCUSABLE) ?? [])].find(canTakeFocus);
  // The part itself is focusable by program, so that reading goes on from here.
  (next ?? part)?.focus({ preventScroll: true });
}

function canTakeFocus(element: HTMLElement): boolean {
  return isVisible(element) && element.tabIndex >= 0 && !element.hasAttribute("data-focus-last");
}

function isVisible(element: HTMLElement): boolean {
  return element.isConnected && element.getClientRects().length > 0;
}
