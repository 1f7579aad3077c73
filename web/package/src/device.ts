/**
 * What the package reads from the device: its cores, whether it is a phone, whether the page is
 * hidden, whether the battery is low, and whether the connection is metered. APIs that are optional
 * in browsers are optional here.
 */

/** Below this charge, while discharging, a contribution pauses. */
const BATTERY_LOW_LEVEL = 0.2;
/** A touch screen whose shorter side has at most this many CSS pixels counts as a phone. */
const PHONE_SIDE_PX_MAX = 500;

/** The device as a contribution uses it. Tests replace it. */
export interface Device {
  cores: number;
  phone: boolean;
  /** Calls `changed` now and at every change; the returned function ends that. */
  watchHidden(changed: (hidden: boolean) => void): () => void;
  /** Watches whether the battery is low and discharging. */
  watchBattery(changed: (low: boolean) => void): () => void;
  /** Watches whether the connection is metered, or the browser saves data. */
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

/** The default number of workers: all cores but one, and one on a phone. */
export function defaultWorkers(device: Pick<Device, "cores" | "phone">): number {
  return device.phone ? 1 : Math.max(1, device.cores - 1);
}

/** The device this page runs on. Node has no `navigator` before version 21, and no `document`. */
export function browserDevice(): Device {
  const navigator = (globalThis.navigator ?? {}) as Partial<NavigatorExtras>;
  return {
    cores: navigator.hardwareConcurrency || 1,
    phone: isPhone(navigator),
    watchHidden(changed) {
      if (typeof document === "undefined") return () => {};
      const report = () => changed(document.visibilityState === "hidden");
      document.addEventListener("visibilitychange", report);
      report();
      return () => document.removeEventListener("visibilitychange", report);
    },
    watchBattery(changed) {
      const stop = new AbortController();
      void navigator.getBattery?.().then(
        (battery) => {
          if (stop.signal.aborted) return;
          const { signal } = stop;
          const report = () => changed(!battery.charging && battery.level < BATTERY_LOW_LEVEL);
          for (const type of ["levelchange", "chargingchange"]) {
            battery.addEventListener(type, report, { signal });
          }
          report();
        },
        () => {}, // A permissions policy may forbid it; then the level is unknown.
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
  const side = Math.min(
    globalThis.screen?.width ?? Infinity,
    globalThis.screen?.height ?? Infinity,
  );
  return (
    side <= PHONE_SIDE_PX_MAX &&
    (globalThis.matchMedia?.("(pointer: coarse)").matches ?? false)
  );
}
