/** Numbers, sizes and times in the page's language. */
import { language } from "./i18n/index.js";

export function count(value: number): string {
  return new Intl.NumberFormat(language()).format(value);
}

/** A fraction of 1 as per cent with one digit. */
export function percent(fraction: number): string {
  return new Intl.NumberFormat(language(), { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(fraction);
}

/** A large number of operations: 1.2 M, 3.4 G, with SI letters in every language. */
export function operations(value: number): string {
  return scaled(value, 1000, ["", " k", " M", " G", " T", " P"]);
}

export function bytes(value: number): string {
  return scaled(value, 1024, [" B", " KiB", " MiB", " GiB"]);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return new Intl.NumberFormat(language(), { maximumFractionDigits: digits }).format(value) + (units[unit] ?? "");
}

/** An age in whole seconds, minutes or hours. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [Math.round(seconds / 60), "minute"] : [Math.round(seconds / 3600), "hour"];
  return new Intl.NumberFormat(language(), { style: "unit", unit: unit as string, unitDisplay: "short" }).format(value as number);
}

export function clock(ms: number): string {
  return new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
}

/** Enough of an identifier to tell two apart. */
export function short(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 6)}…${id.slice(-5)}`;
}
