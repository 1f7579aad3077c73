/**
 * Assigns each tab of an origin its own store, and therefore its own identity.
 *
 * Two tabs with one key would be one node in two places. A Web Lock marks a store as in use. A
 * reloaded tab waits briefly for its previous store, so that it resumes with its head and identity.
 */
import { deadline } from "./signals.js";

/** The most tabs of one origin that are nodes at the same time. */
const STORES_MAX = 32;
/** How long a reloaded tab waits until its previous page releases the store. */
const RELOAD_WAIT_MS = 1_000;

/** A store that no other tab uses until `release`. */
export interface StoreSlot {
  /** Distinguishes this tab from the others of the origin. */
  name: string;
  /** Name of the database. Without one nothing is stored, and the node lasts for this visit. */
  database?: string;
  release(): void;
}

/**
 * Takes this tab's store from before the reload, else the first free one. Returns null if all are
 * in use. If the browser forbids storage or locks, the slot has no database.
 */
export async function takeStore(base: string): Promise<StoreSlot | null> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!hasDatabases()) return visitSlot();
  if (!locks) return { name: base, database: base, release: () => {} };
  const former = loadSlotIndex(base);
  try {
    if (former !== null) {
      const slot = await acquire(locks, base, former, { waitMs: RELOAD_WAIT_MS });
      if (slot) return slot;
    }
    for (let index = 0; index < STORES_MAX; index += 1) {
      const slot = await acquire(locks, base, index, { waitMs: 0 });
      if (slot) return slot;
    }
  } catch {
    // The browser forbids locks wherever it forbids storage: in an opaque origin, or by the
    // person's settings.
    return visitSlot();
  }
  return null;
}

/** A slot for a node that stores nothing. */
function visitSlot(): StoreSlot {
  return { name: `visit-${Math.random().toString(36).slice(2)}`, release: () => {} };
}

function hasDatabases(): boolean {
  try {
    return Boolean(globalThis.indexedDB);
  } catch {
    return false;
  }
}

/** A slot under its lock, or null if another tab holds the lock for longer than `waitMs`. */
function acquire(
  locks: LockManager,
  base: string,
  index: number,
  { waitMs }: { waitMs: number },
): Promise<StoreSlot | null> {
  const name = index === 0 ? base : `${base}-${index + 1}`;
  return new Promise((resolve, reject) => {
    const limit = waitMs > 0 ? deadline(waitMs) : null;
    const options = limit ? { signal: limit.signal } : { ifAvailable: true };
    locks
      .request(`tequio-store:${name}`, options, (lock) => {
        limit?.release();
        if (lock === null) return resolve(null);
        saveSlotIndex(base, index);
        // The lock is held until this promise settles.
        return new Promise<void>((release) => resolve({ name, database: name, release }));
      })
      .catch((error: unknown) => (limit?.signal.aborted ? resolve(null) : reject(error)));
  });
}

function loadSlotIndex(base: string): number | null {
  try {
    const index = Number.parseInt(sessionStorage.getItem(`tequio-store:${base}`) ?? "", 10);
    return index >= 0 && index < STORES_MAX ? index : null;
  } catch {
    return null; // Storage is forbidden: every load takes the first free store.
  }
}

function saveSlotIndex(base: string, index: number): void {
  try {
    sessionStorage.setItem(`tequio-store:${base}`, String(index));
  } catch {
    // Storage is forbidden, as above.
  }
}
