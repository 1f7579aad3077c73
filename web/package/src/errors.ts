/**
 * Every error this package throws: a class for `instanceof`, a stable `code` for
 * programs, a sentence for people, and `fault`, which says whose turn it is.
 *
 * Refuses to leak a bare `Error` of the WebAssembly side: `fromBoundary` gives each a class.
 */

/**
 * Who can mend it: the calling program, the other end of the network, the
 * surroundings (browser, headers, origin), or this package.
 */
export type Fault = "caller" | "peer" | "environment" | "internal";

/** All codes, stable across versions; new ones may be added. */
export type ErrorCode =
  | "CHECKPOINT_REQUIRED"
  | "CHECKPOINT_MISMATCH"
  | "CHECKPOINT_UNREACHABLE"
  | "BAD_CHECKPOINT"
  | "STALE_CHECKPOINT"
  | "BAD_OPTIONS"
  | "INSECURE_ORIGIN"
  | "UNSUPPORTED"
  | "NO_RELAY"
  | "WELL_KNOWN"
  | "TIMEOUT"
  | "UNAVAILABLE"
  | "NOT_FOUND"
  | "LIE_DETECTED"
  | "BAD_OBJECT"
  | "FORKED"
  | "CLOSED"
  | "STORAGE"
  | "WORKER"
  | "INTERNAL";

/** The base of every error of this package. */
export class TequioError extends Error {
  /** Stable; compare this, never the message. */
  readonly code: ErrorCode;
  /** Who can mend it. */
  readonly fault: Fault;

  constructor(code: ErrorCode, message: string, fault: Fault, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.fault = fault;
  }
}

/** An option is missing or has the wrong shape. Codes: BAD_OPTIONS. */
export class OptionsError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("BAD_OPTIONS", message, "caller", cause);
  }
}

/** The starting point of trust is missing, unreadable, too old, or not the one that was pinned. */
export class CheckpointError extends TequioError {
  constructor(
    code: "CHECKPOINT_REQUIRED" | "CHECKPOINT_MISMATCH" | "CHECKPOINT_UNREACHABLE" | "BAD_CHECKPOINT" | "STALE_CHECKPOINT",
    message: string,
    cause?: unknown,
  ) {
    super(code, message, code === "CHECKPOINT_UNREACHABLE" ? "environment" : "caller", cause);
  }
}

/** The page is not in a secure context, so the browser withholds WebCrypto. Codes: INSECURE_ORIGIN. */
export class InsecureOriginError extends TequioError {
  constructor(origin: string) {
    super(
      "INSECURE_ORIGIN",
      `${origin} is not a secure origin, so the browser gives no WebCrypto and the node's identity cannot be protected. ` +
        "Serve the page over https (a Tequio relay takes --tls-cert and --tls-key), or open it as http://localhost or http://127.0.0.1 on the machine itself.",
      "environment",
    );
  }
}

/** The browser, or the page's Content-Security-Policy, does not allow what the node needs. Codes: UNSUPPORTED. */
export class UnsupportedError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("UNSUPPORTED", message, "environment", cause);
  }
}

/** No way into the network, or nobody there who could answer. Codes: NO_RELAY, WELL_KNOWN, TIMEOUT, UNAVAILABLE. */
export class NetworkError extends TequioError {
  constructor(code: "NO_RELAY" | "WELL_KNOWN" | "TIMEOUT" | "UNAVAILABLE", message: string, cause?: unknown) {
    super(code, message, "peer", cause);
  }
}

/**
 * Data did not match its certificate, its proof or its hash, and no other source had it (LIE_DETECTED);
 * an object is not what its name promises (BAD_OBJECT); two certificates contradict each other (FORKED).
 */
export class VerificationError extends TequioError {
  constructor(code: "LIE_DETECTED" | "BAD_OBJECT" | "FORKED", message: string, cause?: unknown) {
    super(code, message, "peer", cause);
  }
}

/** The thing does not exist (yet), and the ledger proves it. Codes: NOT_FOUND. */
export class NotFoundError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("NOT_FOUND", message, "caller", cause);
  }
}

/** The node, or the model, was closed. Codes: CLOSED. */
export class ClosedError extends TequioError {
  constructor(message = "this node was closed; call connect() for a new one", cause?: unknown) {
    super("CLOSED", message, "caller", cause);
  }
}

/** IndexedDB refused. Codes: STORAGE. */
export class StorageError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("STORAGE", message, "environment", cause);
  }
}

/** Compute workers cannot be started. Codes: WORKER. */
export class WorkerError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("WORKER", message, "environment", cause);
  }
}

/** A defect of this package; please report it. Codes: INTERNAL. */
export class InternalError extends TequioError {
  constructor(message: string, cause?: unknown) {
    super("INTERNAL", message, "internal", cause);
  }
}

/** Gives an error of the WebAssembly side its class; a `TequioError` passes unchanged. */
export function fromBoundary(thrown: unknown): TequioError {
  if (thrown instanceof TequioError) return thrown;
  const { code, message } = describe(thrown);
  switch (code) {
    case "BAD_CHECKPOINT":
    case "STALE_CHECKPOINT":
    case "CHECKPOINT_REQUIRED":
      return new CheckpointError(code, message, thrown);
    case "BAD_OPTIONS":
    case "BAD_CONFIG":
    case "BAD_INPUT":
      return new OptionsError(message, thrown);
    case "INSECURE_ORIGIN":
      return new InsecureOriginError(globalThis.location?.origin ?? "this origin");
    case "UNSUPPORTED":
      return new UnsupportedError(message, thrown);
    case "NO_RELAY":
    case "TIMEOUT":
    case "UNAVAILABLE":
      return new NetworkError(code, message, thrown);
    case "NOT_FOUND":
      return new NotFoundError(message, thrown);
    case "LIE_DETECTED":
    case "BAD_OBJECT":
    case "FORKED":
      return new VerificationError(code, message, thrown);
    case "CLOSED":
      return new ClosedError(message, thrown);
    case "STORAGE":
      return new StorageError(message, thrown);
    default:
      return new InternalError(code ? `${message} (${code})` : message, thrown);
  }
}

function describe(thrown: unknown): { code: string | undefined; message: string } {
  if (typeof thrown === "object" && thrown !== null) {
    const { code, message } = thrown as { code?: unknown; message?: unknown };
    return {
      code: typeof code === "string" ? code : undefined,
      message: typeof message === "string" && message !== "" ? message : String(thrown),
    };
  }
  return { code: undefined, message: String(thrown) };
}
