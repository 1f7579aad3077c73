/**
 * Violations of the page's Content-Security-Policy while a node connects. A blocked connection
 * fails like one to a dead host; only the browser's violation event distinguishes the two.
 */
import { UnsupportedError, type TequioError } from "./errors.js";

/** A blocked request, as the browser reports it. */
export interface Violation {
  /** The directive, e.g. `connect-src`. */
  directive: string;
  /** The blocked URL or its origin. */
  url: string;
}

/** The most violations that are kept. */
const VIOLATIONS_MAX = 32;
/** Codes of failures that a blocked request explains. */
const EXPLAINED = new Set([
  "NO_RELAY",
  "WELL_KNOWN",
  "CODE_UNREACHABLE",
  "CHECKPOINT_UNREACHABLE",
  "TIMEOUT",
  "UNAVAILABLE",
  "UNSUPPORTED",
  "WORKER",
]);
/** The directives that apply to the node's requests. */
const DIRECTIVE = /^(?:connect|script|worker|default)-src/;

/** Collects violations until `stop`. */
export class CspWatch {
  #violations: Violation[] = [];
  readonly #stop: () => void;

  /** `watch` reports violations until its returned function is called. */
  constructor(watch: (report: (violation: Violation) => void) => () => void) {
    this.#stop = watch((violation) => {
      if (this.#violations.length >= VIOLATIONS_MAX) return;
      if (DIRECTIVE.test(violation.directive)) this.#violations.push(violation);
    });
  }

  /** The error itself, or CSP_BLOCKED if the policy is its cause. */
  async explain(error: TequioError): Promise<TequioError> {
    if (!EXPLAINED.has(error.code)) return error;
    // The browser dispatches its event in a task after the one in which the request fails.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const [first] = this.#violations;
    if (!first) return error;
    const { directive, url } = first;
    const needed = url === "wasm-eval" ? "'wasm-unsafe-eval'" : url;
    const message =
      `the page's Content-Security-Policy forbids ${url}: its ${directive} needs ${needed}`;
    return new UnsupportedError(message, error, "CSP_BLOCKED", { directive, url });
  }

  /** Ends the collection. */
  stop(): void {
    this.#stop();
  }
}

/** Listens to the browser's violation events. Outside of a browser there is no policy. */
export function watchViolations(report: (violation: Violation) => void): () => void {
  const target = globalThis.document as Document | undefined;
  if (!target) return () => {};
  const listen = (event: SecurityPolicyViolationEvent) =>
    report({
      directive: event.effectiveDirective || event.violatedDirective,
      url: event.blockedURI,
    });
  target.addEventListener("securitypolicyviolation", listen);
  return () => target.removeEventListener("securitypolicyviolation", listen);
}
