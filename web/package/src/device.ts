/**
 * What the package asks of the device: cores, whether it is a phone, whether the
 * page is hidden, and whether the battery runs low. Everything optional in
 * browsers is optional here.
 */

/** Below this charge, while discharging, a contribution pauses. */
export const BATTERY_LOW_LEVEL = 0.2;
/** Shorter side, in CSS pixels, up to which a touch screen counts as a phone. */
export const PHONE_SIDE_PX_MAX = 500;

/** The device as the contribution sees it; tests bring their own. */
export interface Device {
  cores: number;
  phone: boolean;
  /** Calls `changed` now and at every change; the returned function stops it. */
  watchHidden(changed: (hidden: boolean) => void): () => void;
  watchBattery(changed: (low: boolean) => void): () => void;
  /** Whether the connection is metered, or the person asked the browser to save data. */
  watchMetered(changed: (metered: boolean) => void): () => void;
}

interface BatteryLike extends EventTarget {
  charging: boolean;
  level: number;
}

interface ConnectionLike extends EventTarget {
  saveData?: boolean;
  type?: string;
  metered?: boolean;
}

type NavigatorExtras = Navigator & {
  connection?: ConnectionLike;
  getBattery?: () => Promise<BatteryLike>;
  userAgentData?: { mobile?: boolean };
};

/** How many workers a device should run when nobody said: all cores but one, and one on a phone. */
export function defaultWorkers(device: Pick<Device, "cores" | "phone">): number {
  return device.phone ? 1 : Math.max(1, device.cores - 1);
}

/** The device this page runs on. Node before version 21 has no `navigator`, and none has a `document`. */
export function browserDevice(): Device {
  const navigator = (globalThis.navigator ?? {}) as Partial<NavigatorExtras>;
  return {
    cores: navigator.hardwareConcurrency || 1,
    phone: isPhone(navigator),
    watchHidden(changed) {
      if (typeof document === "undefined") return () => {};
      const tell = () => changed(document.visibilityState === "hidden");
      document.addEventListener("visibilitychange", tell);
      tell();
      return () => document.removeEventListener("visibilitychange", tell);
    },
    watchBattery(changed) {
      const stop = new AbortController();
      void navigator.getBattery?.().then(
        (battery) => {
          if (stop.signal.aborted) return;
          const tell = () => changed(!battery.charging && battery.level < BATTERY_LOW_LEVEL);
          for (const type of ["levelchange", "chargingchange"]) battery.addEventListener(type, tell, { signal: stop.signal });
          tell();
        },
        () => {}, // A permissions policy may forbid it; then the level is simply unknown.
      );
      return () => stop.abort();
    },
    watchMetered(changed) {
      const { connection } = navigator;
      // Where the browser does not report it, the connection counts as unmetered.
      if (!connection) return () => {};
      const report = () => changed(isMetered(connection));
      connection.addEventListener?.("change", report);
      report();
      return () => connection.removeEventListener?.("change", report);
    },
  };
}

function isMetered({ saveData, type, metered }: ConnectionLike): boolean {
  return saveData === true || metered === true || type === "cellular";
}

function isPhone(navigator: Partial<NavigatorExtras>): boolean {
  if (navigator.userAgentData?.mobile !== undefined) return navigator.userAgentData.mobile;
  const side = Math.min(globalThis.screen?.width ?? Infinity, globalThis.screen?.height ?? Infinity);
  return side <= PHONE_SIDE_PX_MAX && (globalThis.matchMedia?.("(pointer: coarse)").matches ?? false);
}
