/**
 * Violations of the page's Content-Security-Policy while a node connects. A blocked
 * connection fails like one to a dead host; only this event tells the two apart.
 */
import { UnsupportedError, type TequioError } from "./errors.js";

/** A blocked request, as the browser names it. */
export interface Violation {
  /** The directive, e.g. `connect-src`. */
  directive: string;
  /** The blocked URL or its origin. */
  url: string;
}

/** Violations that are remembered. */
const VIOLATIONS_MAX = 32;
/** Failures that a blocked request explains. */
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
/** The directives that the node's requests fall under. */
const DIRECTIVE = /^(?:connect|script|worker|default)-src/;

/** Collects violations until `stop`. */
export class PolicyWatch {
  #violations: Violation[] = [];
  readonly #stop: () => void;

  /** `watch` reports violations and returns what ends that. */
  constructor(watch: (heard: (violation: Violation) => void) => () => void) {
    this.#stop = watch((violation) => {
      if (this.#violations.length < VIOLATIONS_MAX && DIRECTIVE.test(violation.directive)) this.#violations.push(violation);
    });
  }

  /** The error, or the one that says that the policy is its cause. */
  async explain(error: TequioError): Promise<TequioError> {
    if (!EXPLAINED.has(error.code)) return error;
    // The browser sends the event in a task after the one in which the request fails.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const [first] = this.#violations;
    if (!first) return error;
    const { directive, url } = first;
    const needed = url === "wasm-eval" ? "'wasm-unsafe-eval'" : url;
    const message = `the page's Content-Security-Policy forbids ${url}: its ${directive} needs ${needed}`;
    return new UnsupportedError(message, error, "CSP_BLOCKED", { directive, url });
  }

  stop(): void {
    this.#stop();
  }
}

/** Listens to the browser's events; elsewhere there is no policy. */
export function watchViolations(heard: (violation: Violation) => void): () => void {
  const target = globalThis.document as Document | undefined;
  if (!target) return () => {};
  const listen = ({ effectiveDirective, violatedDirective, blockedURI }: SecurityPolicyViolationEvent) =>
    heard({ directive: effectiveDirective || violatedDirective, url: blockedURI });
  target.addEventListener("securitypolicyviolation", listen);
  return () => target.removeEventListener("securitypolicyviolation", listen);
}
