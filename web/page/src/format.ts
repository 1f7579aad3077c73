/** Numbers, sizes and times in the page's locale. */
import { locale } from "./i18n/index.js";

/** A cache, because formatters are costly to create and few. */
const formatters = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function numbers(options: Intl.NumberFormatOptions = {}): Intl.NumberFormat {
  return cached("n", options, () => new Intl.NumberFormat(locale(), options));
}

function times(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return cached("t", options, () => new Intl.DateTimeFormat(locale(), options));
}

function cached<T extends Intl.NumberFormat | Intl.DateTimeFormat>(
  kind: string,
  options: object,
  make: () => T,
): T {
  const key = `${kind} ${locale()} ${JSON.stringify(options)}`;
  const formatter = formatters.get(key) ?? make();
  formatters.set(key, formatter);
  return formatter as T;
}

/** A whole number. */
export function count(value: number): string {
  return numbers().format(value);
}

/** A measured number with four significant digits. */
export function measure(value: number): string {
  return numbers({ maximumSignificantDigits: 4 }).format(value);
}

/** A fraction of 1 as per cent with one digit. */
export function percent(fraction: number): string {
  const options = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return numbers({ style: "percent", ...options }).format(fraction);
}

/** A fraction of 1 as whole per cent; 0 % and 100 % only for exactly none and all. */
export function share(fraction: number): string {
  const near = fraction > 0 && (fraction < 0.01 || (fraction > 0.99 && fraction < 1));
  return numbers({ style: "percent", maximumFractionDigits: near ? 1 : 0 }).format(fraction);
}

/** A large number of operations: 1.2 M, 3.4 G, with SI letters in every language. */
export function operations(value: number): string {
  return scaled(value, ["", " k", " M", " G", " T", " P"]);
}

/** Bytes in decimal units, as data plans count them. */
export function bytes(value: number): string {
  return scaled(value, [" B", " kB", " MB", " GB", " TB"]);
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return numbers({ maximumFractionDigits: digits }).format(value) + (units[unit] ?? "");
}

/** A length of time in whole seconds, minutes, hours or days. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [value, unit] =
    seconds < 90
      ? [seconds, "second"]
      : seconds < 5_400
        ? [Math.round(seconds / 60), "minute"]
        : seconds < 129_600
          ? [Math.round(seconds / 3_600), "hour"]
          : [Math.round(seconds / 86_400), "day"];
  return numbers({ style: "unit", unit: String(unit), unitDisplay: "short" }).format(Number(value));
}

/** A time of day with seconds. */
export function clock(ms: number): string {
  return times({ hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
}

/** Hours and minutes, with the date if it is not today. */
export function moment(ms: number, nowMs = Date.now()): string {
  const today = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  const time: Intl.DateTimeFormatOptions = { hour: "numeric", minute: "2-digit" };
  return times(today ? time : { day: "numeric", month: "short", ...time }).format(ms);
}

/** An identifier shortened to its beginning and end. */
export function short(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 6)}…${id.slice(-5)}`;
}
