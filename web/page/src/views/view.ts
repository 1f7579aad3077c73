/** The interface of the views: their dependencies, the person's actions, and how they update. */
import type { Device, Prediction } from "tequio";
import type { Announcer } from "../announcer.js";
import type { LaunchParams } from "../launch-params.js";
import type { Preferences } from "../preferences.js";
import type { State } from "../state.js";
import type { Store } from "../store.js";

/** A saved file, or null if that failed; the state holds the error. */
export type Saved = { name: string; size: number } | null;

/** The person's actions. */
export interface Actions {
  /** Connects without computing. */
  watch(): Promise<void>;
  /** Connects if necessary, and computes within the preferences. */
  join(): Promise<void>;
  setPreferences(preferences: Partial<Preferences>): void;
  /** Continues in spite of the reason to pause. */
  resume(): void;
  stop(): void;
  leave(): Promise<void>;
  /** Shows a job; null follows the running one. */
  chooseJob(job: string | null): void;
  predict(features: Float64Array | number[]): Prediction | null;
  saveProof(job: string): Promise<Saved>;
  /** Passes the proof to the device's share sheet, or saves it without one. */
  shareProof(job: string, text: string): Promise<Saved>;
  saveModel(job: string, file: "model" | "record"): Promise<Saved>;
}

/** The dependencies of the views. */
export interface AppContext {
  store: Store;
  actions: Actions;
  launchParams: LaunchParams;
  device: Pick<Device, "cores" | "phone">;
  announcer: Announcer;
}

/** A part of the page. */
export interface View {
  element?: HTMLElement;
  /** The parts of the state that the view shows. It updates when one of them is another object. */
  reads(state: State): readonly unknown[];
  update(state: State): void;
}
