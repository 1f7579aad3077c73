/** A model that was read by name, verified against the ledger, and is ready to run in this page. */
import { ClosedError, OptionsError, fromBoundary } from "./errors.js";
import type { WireColumn, WireModel } from "./wasm-types.js";

/** What a model answers. */
export interface Prediction {
  /** The class with the highest confidence. */
  label: string;
  /** One confidence for each of {@link Model.classes}, in that order; they sum to about 1. */
  confidences: number[];
}

/**
 * A verified model. "Verified" means: computed as the job specified, by the
 * record that consensus committed. It says nothing about the honesty of the data.
 */
export class Model {
  /** The job that trained it. */
  readonly job: string;
  /** The content address of its bytes. */
  readonly cid: string;
  /** The labels it tells apart. */
  readonly classes: readonly string[];
  /** How many numbers {@link predict} takes. */
  readonly features: number;
  /**
   * The columns of a row in order, with mean and standard deviation of the training rows; those of
   * columns that were scaled together are of all of them.
   */
  readonly columns: readonly Readonly<WireColumn>[];
  /** Accuracy on the held-out rows, as a fraction of 1. */
  readonly accuracy: number;
  #wire: WireModel | null;

  /** @internal */
  constructor(wire: WireModel) {
    this.#wire = wire;
    this.job = wire.job;
    this.cid = wire.cid;
    this.classes = Object.freeze([...wire.classes]);
    this.features = wire.features;
    this.columns = Object.freeze([...wire.columns]);
    this.accuracy = wire.accuracy;
  }

  /**
   * Classifies one row. The numbers are in the units of the training data; the
   * model's own normalisation is applied to them.
   */
  predict(features: Float64Array | readonly number[]): Prediction {
    if (this.#wire === null) throw new ClosedError("this model was closed");
    if (features.length !== this.features) throw new OptionsError(`this model takes ${this.features} numbers, not ${features.length}`);
    const row = Float64Array.from(features);
    if (!row.every(Number.isFinite)) throw new OptionsError("every feature must be a finite number");
    try {
      const { label, confidences } = this.#wire.predict(row);
      return { label, confidences: Array.from(confidences) };
    } catch (error) {
      throw fromBoundary(error);
    }
  }

  /** Gives the model's memory back. Idempotent. */
  close(): void {
    this.#wire?.free();
    this.#wire = null;
  }
}
