/**
 * The log for people. Repeated events share one line with a count, the first and the last time. A
 * line is `bad` only for data that is proven to be false; a late result is not. Pure.
 */
import type { TequioEvent } from "tequio";

/** `bad` is data proven to be false, `warn` needs attention, `good` is progress. */
export type Tone = "plain" | "good" | "warn" | "bad";

/** A line as a message key with its values. */
export interface LogLine {
  id: number;
  /** Times of the events, not of their arrival. */
  firstMs: number;
  lastMs: number;
  count: number;
  tone: Tone;
  key: string;
  values: Record<string, string | number>;
  /** Lines with the same subject are one line. */
  subject: string;
}

/** An event's line before it is merged into the log. */
export type Entry = Omit<LogLine, "id" | "firstMs" | "lastMs" | "count"> & { atMs: number };

/** The most lines of the log; it keeps the newest. */
export const LOG_LINES_MAX = 60;
/** The most characters kept of another program's text. */
const TEXT_LENGTH_MAX = 300;
/** Parts of answers that a signature or a hash proves to be false. */
const PROVEN = new Set(["header", "certificate", "proof", "object", "committee", "chain"]);

/**
 * Tone and message of a rejected result by its kind. None is red, because the reporting node gives
 * no proof. A worker that does not show its work may have lost it.
 */
const REFUSED = {
  wrong: ["warn", "log.rejected"],
  withheld: ["warn", "log.withheld"],
  unknown: ["plain", "log.refused"],
} as const;

/** The facts before an event that decide whether the event gets a line. */
export interface FactsBefore {
  stale: boolean;
  activity: { state: string } | null;
  /** Milliseconds by which the device's clock is ahead of the network's; null while unknown. */
  clockOffsetMs: number | null;
}

/** Merges an entry into the line of its subject, or adds a line. The newest line is last. */
export function addEntry(lines: readonly LogLine[], { atMs, ...entry }: Entry): LogLine[] {
  const same = lines.find(({ subject }) => subject === entry.subject);
  const line: LogLine = {
    ...entry,
    id: same?.id ?? lines.reduce((id, line) => Math.max(id, line.id), 0) + 1,
    firstMs: Math.min(atMs, same?.firstMs ?? atMs),
    lastMs: Math.max(atMs, same?.lastMs ?? atMs),
    count: (same?.count ?? 0) + 1,
  };
  const others = lines.filter((other) => other !== same);
  const after = others.findLastIndex(({ lastMs }) => lastMs <= line.lastMs) + 1;
  return others.toSpliced(after, 0, line).slice(-LOG_LINES_MAX);
}

/** The log after an event; the same array if the event is not logged. */
export function logEvent(
  lines: LogLine[],
  event: TequioEvent,
  { nowMs, before }: { nowMs: number; before: FactsBefore },
): LogLine[] {
  const entry = entryOf(event, nowMs, before);
  return entry === null ? lines : addEntry(lines, entry);
}

function entryOf(event: TequioEvent, nowMs: number, before: FactsBefore): Entry | null {
  const line = (tone: Tone, key: string, values: LogLine["values"] = {}, subject = key): Entry => ({
    atMs: nowMs,
    tone,
    key,
    values,
    subject,
  });
  switch (event.type) {
    case "rejected": {
      const { worker, round, unit, reason } = event;
      const values = { worker, round, unit, reason: text(reason) };
      const atMs = deviceTime(event.timeMs, before, nowMs);
      if (event.kind === "late") return { ...line("plain", "log.late", values), atMs };
      const [tone, key] = REFUSED[event.kind ?? "unknown"];
      return { ...line(tone, key, values, `${key} ${worker}`), atMs };
    }
    case "invalidData": {
      const { peer, what } = event;
      const tone = PROVEN.has(what) ? "bad" : "warn";
      const values = { peer, what, detail: text(event.detail) };
      return line(tone, "log.invalidData", values, `invalidData ${peer} ${what}`);
    }
    case "forkEvidence":
      return line("bad", "log.forkEvidence", { detail: text(event.detail) });
    case "stale":
      // One line for each stale period, although the node repeats the event.
      return before.stale ? null : line("warn", "log.stale");
    case "head":
      return before.stale ? line("good", "log.fresh") : null;
    case "activity":
      if (event.state === "disconnected") {
        return before.activity?.state === "disconnected" ? null : line("warn", "log.offline");
      }
      return before.activity?.state === "disconnected" ? line("good", "log.online") : null;
    case "storage":
      return line(event.state === "reopened" ? "plain" : "warn", `log.storage.${event.state}`);
    case "contribution":
      return event.reason === "codeUnreachable" ? line("warn", "log.codeUnreachable") : null;
    case "workerLost": {
      const key = event.replaced ? "log.workerReplaced" : "log.workersDead";
      return line("warn", key, { message: text(event.message) });
    }
    case "path": {
      const { peer, transport, via = "" } = event;
      const key = event.path === "direct" ? "log.direct" : "log.relayed";
      return line("plain", key, { peer, transport, via }, `path ${peer}`);
    }
    case "peer":
      return event.connected ? null : line("plain", "log.peerGone", { peer: event.id });
    case "log": {
      if (event.level !== "warn" && event.level !== "error") return null;
      const message = text(event.message);
      return line("plain", "log.line", { message }, `line ${withoutNumbers(message)}`);
    }
    default:
      return null;
  }
}

/** A time of the network on the device's clock, which may be wrong; never in the future. */
function deviceTime(timeMs: number | undefined, facts: FactsBefore, nowMs: number): number {
  return timeMs === undefined ? nowMs : Math.min(nowMs, timeMs + (facts.clockOffsetMs ?? 0));
}

function text(given: string): string {
  return given.length <= TEXT_LENGTH_MAX ? given : `${given.slice(0, TEXT_LENGTH_MAX)}…`;
}

/** A technical text without ids and numbers, so that its repeats are equal. */
function withoutNumbers(message: string): string {
  return message.replace(/\w*\d[\w.:/-]*/g, "#");
}
