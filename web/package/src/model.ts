/** A model that has been verified against the ledger and can run in this page. */
import { ClosedError, OptionsError, fromBoundary } from "./errors.js";
import type { WireColumn, WireModel } from "./wasm-types.js";

/** The output of a model for one row. */
export interface Prediction {
  /** The class with the highest confidence. */
  label: string;
  /** One confidence for each of {@link Model.classes}, in that order; they sum to about 1. */
  confidences: number[];
}

/**
 * A verified model: it was computed as the job specified, according to the record that consensus
 * committed. This does not vouch for the honesty of the data.
 */
export class Model {
  /** The job that trained it. */
  readonly job: string;
  /** The content address of its bytes. */
  readonly cid: string;
  /** The labels of its classes. */
  readonly classes: readonly string[];
  /** How many numbers {@link predict} takes. */
  readonly features: number;
  /**
   * The columns of a row in order, with mean and standard deviation over the training rows. Columns
   * that were scaled together share both values.
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

  /** Classifies one row in the units of the training data; the model normalises it itself. */
  predict(features: Float64Array | readonly number[]): Prediction {
    if (this.#wire === null) throw new ClosedError("this model was closed");
    if (features.length !== this.features) {
      throw new OptionsError(`this model takes ${this.features} numbers, not ${features.length}`);
    }
    const row = Float64Array.from(features);
    if (!row.every(Number.isFinite)) {
      throw new OptionsError("every feature must be a finite number");
    }
    try {
      const { label, confidences } = this.#wire.predict(row);
      return { label, confidences: Array.from(confidences) };
    } catch (error) {
      throw fromBoundary(error);
    }
  }

  /** Frees the model's memory. Idempotent. */
  close(): void {
    this.#wire?.free();
    this.#wire = null;
  }
}
