/** Parses numbers with a decimal point or a decimal comma. Pure. */

/** The number in a text, or null if it holds none. */
export function parseNumber(text: string): number | null {
  const trimmed = text.trim();
  const plain = /^[^.,]*,\d+$/.test(trimmed) ? trimmed.replace(",", ".") : trimmed;
  if (plain === "") return null;
  const number = Number(plain);
  return Number.isFinite(number) ? number : null;
}

/**
 * The numbers of a row. Commas separate, as in a CSV file, if that gives `count` numbers; else
 * spaces and semicolons do, and a comma is decimal.
 */
export function parseRow(text: string, count: number): number[] {
  const byComma = numbersOf(text.split(/[\s;,]+/));
  return byComma.length === count ? byComma : numbersOf(text.split(/[\s;]+|,(?=\s)/));
}

/** The numbers among the parts. Other parts are left out, so that the count is too small. */
function numbersOf(parts: readonly string[]): number[] {
  return parts.map(parseNumber).filter((number) => number !== null);
}
