/**
 * Every error this package throws: a class for `instanceof`, a stable `code` for programs, a
 * sentence for people, and `fault`, the origin of the cause.
 *
 * `fromBoundary` gives each error of the WebAssembly side its class, so no bare `Error` leaks.
 */

/**
 * The origin of the cause: the calling program, a peer, the environment (browser, headers, origin),
 * or this package.
 */
export type Fault = "caller" | "peer" | "environment" | "internal";

/** All codes. They are stable across versions; a version may add codes. */
export type ErrorCode =
  | "ABORTED"
  | "CHECKPOINT_REQUIRED"
  | "CHECKPOINT_MISMATCH"
  | "CHECKPOINT_UNREACHABLE"
  | "BAD_CHECKPOINT"
  | "STALE_CHECKPOINT"
  | "OTHER_NETWORK"
  | "BAD_OPTIONS"
  | "INSECURE_ORIGIN"
  | "UNSUPPORTED"
  | "CSP_BLOCKED"
  | "CODE_UNREACHABLE"
  | "NO_RELAY"
  | "WELL_KNOWN"
  | "TIMEOUT"
  | "UNAVAILABLE"
  | "NOT_FOUND"
  | "VERIFICATION_FAILED"
  | "BAD_OBJECT"
  | "FORKED"
  | "CLOSED"
  | "STORAGE"
  | "WORKER"
  | "UNIT_FAILED"
  | "INTERNAL";

/** Facts about an error as plain values, for programs with their own messages. */
export type ErrorDetails = Readonly<Record<string, string | number>>;

/** The base of every error of this package. */
export class TequioError extends Error {
  // A literal, here and below: minifiers rename classes.
  override name = "TequioError";
  /** Stable; compare this, never the message. */
  readonly code: ErrorCode;
  /** The origin of the cause. */
  readonly fault: Fault;
  /**
   * Facts, by name: `url` and `directive` of CSP_BLOCKED; `clockOffsetMs`, `ageMs` and `trustMs` of
   * STALE_CHECKPOINT. More may be added.
   */
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    fault: Fault,
    cause?: unknown,
    details: ErrorDetails = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fault = fault;
    this.details = details;
  }
}

/** The program's signal was aborted; `cause` is the signal's reason. Codes: ABORTED. */
export class AbortError extends TequioError {
  override name = "AbortError";

  constructor(cause?: unknown) {
    super("ABORTED", "the program's signal was aborted", "caller", cause);
  }
}

/** An option is missing or has the wrong shape. Codes: BAD_OPTIONS. */
export class OptionsError extends TequioError {
  override name = "OptionsError";

  constructor(message: string, cause?: unknown) {
    super("BAD_OPTIONS", message, "caller", cause);
  }
}

/**
 * The checkpoint is missing, unreadable, too old, from another network, or not the pinned one.
 */
export class CheckpointError extends TequioError {
  override name = "CheckpointError";

  constructor(
    code:
      | "CHECKPOINT_REQUIRED"
      | "CHECKPOINT_MISMATCH"
      | "CHECKPOINT_UNREACHABLE"
      | "BAD_CHECKPOINT"
      | "STALE_CHECKPOINT"
      | "OTHER_NETWORK",
    message: string,
    cause?: unknown,
    details?: ErrorDetails,
  ) {
    super(
      code,
      message,
      code === "CHECKPOINT_UNREACHABLE" ? "environment" : "caller",
      cause,
      details,
    );
  }
}

/** The page has no secure context, so the browser withholds WebCrypto. Codes: INSECURE_ORIGIN. */
export class InsecureOriginError extends TequioError {
  override name = "InsecureOriginError";

  constructor(origin: string, cause?: unknown) {
    super(
      "INSECURE_ORIGIN",
      `${origin} is not a secure origin, so the browser gives no WebCrypto and the node's ` +
        "identity cannot be protected. Serve the page over https (a Tequio relay takes " +
        "--tls-cert and --tls-key), or open it as http://localhost or http://127.0.0.1 on the " +
        "machine itself.",
      "environment",
      cause,
    );
  }
}

/**
 * The environment lacks a feature that the node needs (UNSUPPORTED), or the page's
 * Content-Security-Policy forbids it (CSP_BLOCKED).
 */
export class UnsupportedError extends TequioError {
  override name = "UnsupportedError";

  constructor(
    message: string,
    cause?: unknown,
    code: "UNSUPPORTED" | "CSP_BLOCKED" = "UNSUPPORTED",
    details?: ErrorDetails,
  ) {
    super(code, message, "environment", cause, details);
  }
}

/**
 * No relay was found or reached (NO_RELAY, WELL_KNOWN), no peer answered in time (TIMEOUT) or at
 * all (UNAVAILABLE), or the host of the page's own code did not answer (CODE_UNREACHABLE).
 */
export class NetworkError extends TequioError {
  override name = "NetworkError";

  constructor(
    code: "NO_RELAY" | "WELL_KNOWN" | "CODE_UNREACHABLE" | "TIMEOUT" | "UNAVAILABLE",
    message: string,
    cause?: unknown,
    details?: ErrorDetails,
  ) {
    super(code, message, code === "CODE_UNREACHABLE" ? "environment" : "peer", cause, details);
  }
}

/**
 * Data did not match its certificate, its proof or its hash, and no other source had it
 * (VERIFICATION_FAILED); an object does not match its name (BAD_OBJECT); two certificates
 * contradict each other (FORKED).
 */
export class VerificationError extends TequioError {
  override name = "VerificationError";

  constructor(
    code: "VERIFICATION_FAILED" | "BAD_OBJECT" | "FORKED",
    message: string,
    cause?: unknown,
  ) {
    super(code, message, "peer", cause);
  }
}

/** The requested item does not exist (yet), and the ledger proves it. Codes: NOT_FOUND. */
export class NotFoundError extends TequioError {
  override name = "NotFoundError";

  constructor(message: string, cause?: unknown) {
    super("NOT_FOUND", message, "caller", cause);
  }
}

/** The node, or the model, was closed. Codes: CLOSED. */
export class ClosedError extends TequioError {
  override name = "ClosedError";

  constructor(message = "this node was closed; call connect() for a new one", cause?: unknown) {
    super("CLOSED", message, "caller", cause);
  }
}

/** The browser's storage failed. Codes: STORAGE. */
export class StorageError extends TequioError {
  override name = "StorageError";

  constructor(message: string, cause?: unknown) {
    super("STORAGE", message, "environment", cause);
  }
}

/** Compute workers cannot be started (WORKER), or a unit could not be computed (UNIT_FAILED). */
export class WorkerError extends TequioError {
  override name = "WorkerError";

  constructor(message: string, cause?: unknown, code: "WORKER" | "UNIT_FAILED" = "WORKER") {
    super(code, message, code === "WORKER" ? "environment" : "internal", cause);
  }
}

/** A defect of this package; please report it. Codes: INTERNAL. */
export class InternalError extends TequioError {
  override name = "InternalError";

  constructor(message: string, cause?: unknown) {
    super("INTERNAL", message, "internal", cause);
  }
}

/** Converts an error of the WebAssembly side to its class; returns a `TequioError` unchanged. */
export function fromBoundary(thrown: unknown): TequioError {
  if (thrown instanceof TequioError) return thrown;
  const { code, message, details } = describe(thrown);
  switch (code) {
    case "BAD_CHECKPOINT":
    case "STALE_CHECKPOINT":
    case "OTHER_NETWORK":
      return new CheckpointError(code, message, thrown, details);
    case "BAD_CONFIG":
    case "BAD_INPUT":
      return new OptionsError(message, thrown);
    case "INSECURE_ORIGIN":
      return new InsecureOriginError(globalThis.location?.origin ?? "this origin", thrown);
    case "NO_RELAY":
    case "TIMEOUT":
    case "UNAVAILABLE":
      return new NetworkError(code, message, thrown);
    case "NOT_FOUND":
      return new NotFoundError(message, thrown);
    case "VERIFICATION_FAILED":
    case "BAD_OBJECT":
    case "FORKED":
      return new VerificationError(code, message, thrown);
    case "CLOSED":
      return new ClosedError(message, thrown);
    case "STORAGE":
      return new StorageError(message, thrown);
    case "UNIT_FAILED":
      return new WorkerError(message, thrown, code);
    default:
      return new InternalError(code ? `${message} (${code})` : message, thrown);
  }
}

/** Numbers that the WebAssembly side adds to its errors. */
const DETAILS = ["ageMs", "trustMs"] as const;

function describe(
  thrown: unknown,
): { code: string | undefined; message: string; details: ErrorDetails } {
  if (typeof thrown === "object" && thrown !== null) {
    const { code, message, ...rest } = thrown as Record<string, unknown>;
    const details = DETAILS.flatMap((name) =>
      typeof rest[name] === "number" ? [[name, rest[name]]] : [],
    );
    return {
      code: typeof code === "string" ? code : undefined,
      message: typeof message === "string" && message !== "" ? message : String(thrown),
      details: Object.fromEntries(details) as ErrorDetails,
    };
  }
  return { code: undefined, message: String(thrown), details: {} };
}
