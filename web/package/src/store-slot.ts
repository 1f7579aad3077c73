/**
 * Gives each tab of an origin a store, and so an identity, of its own.
 *
 * Two tabs with one key would be one node in two places. A Web Lock marks a store
 * as in use; a reloaded tab waits a moment for the store it had before, so it
 * resumes where it was.
 */

/** Tabs of one origin that can be nodes at the same time. */
export const STORES_MAX = 32;
/** How long a reloaded tab waits for its former self to let go. */
export const FORMER_WAIT_MS = 1_000;

/** A store that no other tab uses until `release`. */
export interface StoreSlot {
  name: string;
  release(): void;
}

/** Takes the store this tab had before the reload, else the first free one. Null where all are taken. */
export async function takeStore(base: string): Promise<StoreSlot | null> {
  const { locks } = globalThis.navigator;
  if (!locks) return { name: base, release: () => {} };
  const former = remembered(base);
  if (former !== null) {
    const slot = await hold(locks, base, former, { signal: AbortSignal.timeout(FORMER_WAIT_MS) });
    if (slot) return slot;
  }
  for (let index = 0; index < STORES_MAX; index += 1) {
    const slot = await hold(locks, base, index, { ifAvailable: true });
    if (slot) return slot;
  }
  return null;
}

function hold(locks: LockManager, base: string, index: number, options: LockOptions): Promise<StoreSlot | null> {
  const name = index === 0 ? base : `${base}-${index + 1}`;
  return new Promise((resolve) => {
    locks
      .request(`tequio-store:${name}`, options, (lock) => {
        if (lock === null) return resolve(null);
        remember(base, index);
        // The lock is held until this promise settles.
        return new Promise<void>((release) => resolve({ name, release }));
      })
      .catch(() => resolve(null));
  });
}

function remembered(base: string): number | null {
  try {
    const index = Number.parseInt(sessionStorage.getItem(`tequio-store:${base}`) ?? "", 10);
    return index >= 0 && index < STORES_MAX ? index : null;
  } catch {
    return null; // Storage may be forbidden; then every load takes the first free store.
  }
}

function remember(base: string, index: number): void {
  try {
    sessionStorage.setItem(`tequio-store:${base}`, String(index));
  } catch {
    // As above.
  }
}
