/**
 * Converts strokes into the format of the handwritten digits set: 64 numbers from 0 to 16.
 *
 * The set's digits were normalised to 32 x 32 bitmaps and counted in blocks of 4 x 4 (E. Alpaydin,
 * C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998). The data show the
 * normalisation: digits fill the height and about three quarters of the width, and all ten have
 * nearly the same ink, so a "1" is thick. The drawing is therefore fitted to that box, and the
 * width of its pen gives that ink. Pure: no canvas.
 */

/** A point of the board, both coordinates from 0 to 1. */
export interface Point {
  x: number;
  y: number;
}

/** A line of the pen; a single point is a dot. */
export type Stroke = readonly Point[];

const BITMAP_SIDE = 32;
const BLOCK_SIDE = 4;
/** Cells per side of the result. */
export const DIGIT_SIDE = BITMAP_SIDE / BLOCK_SIDE;
/**
 * The box for the middle of the pen, in pixels of the bitmap. Box and pen were chosen for the best
 * recognition.
 */
const BOX_HEIGHT = 26;
const BOX_WIDTH = 15;
/** The largest ratio between the stretch in width and in height, so that a "1" stays a "1". */
const STRETCH_MAX = 1.3;
/** The smallest extent, as a part of the board, that is enlarged, so that a dot stays a dot. */
const EXTENT_MIN = 0.08;
/** Inked pixels: the average of the set's thinnest class (the others have up to 331). */
const INK_PIXELS = 304;
/** The limits of the pen's half width, in pixels. */
const PEN_RADIUS_MIN = 1.5;
const PEN_RADIUS_MAX = 4;
/** Points closer than this to the previous one are dropped. */
const STEP_MIN = 0.2;

/** The 64 intensities, row by row; all zero for an empty board. */
export function toDigit(strokes: readonly Stroke[]): Float64Array {
  const digit = new Float64Array(DIGIT_SIDE * DIGIT_SIDE);
  const distances = distanceMap(fit(strokes));
  if (distances === null) return digit;
  const distance = distances.toSorted()[INK_PIXELS] ?? 0;
  const reach = Math.min(PEN_RADIUS_MAX ** 2, Math.max(PEN_RADIUS_MIN ** 2, distance));
  distances.forEach((distance, pixel) => {
    if (distance > reach) return;
    const [x, y] = [pixel % BITMAP_SIDE, Math.floor(pixel / BITMAP_SIDE)];
    const cell = Math.floor(y / BLOCK_SIDE) * DIGIT_SIDE + Math.floor(x / BLOCK_SIDE);
    digit[cell] = (digit[cell] ?? 0) + 1;
  });
  return digit;
}

/** Scales the drawing to the box, centred in the bitmap. */
function fit(strokes: readonly Stroke[]): Stroke[] {
  const points = strokes.flat();
  const [left, right] = range(points.map(({ x }) => x));
  const [top, bottom] = range(points.map(({ y }) => y));
  const [byWidth, byHeight] = [
    BOX_WIDTH / Math.max(right - left, EXTENT_MIN),
    BOX_HEIGHT / Math.max(bottom - top, EXTENT_MIN),
  ];
  const scaleY = Math.min(byHeight, byWidth * STRETCH_MAX);
  const scaleX = Math.min(byWidth, scaleY * STRETCH_MAX);
  const middle = BITMAP_SIDE / 2;
  return strokes.map((stroke) => {
    const fitted: Point[] = [];
    for (const point of stroke) {
      const x = middle + (point.x - (left + right) / 2) * scaleX;
      const y = middle + (point.y - (top + bottom) / 2) * scaleY;
      const last = fitted.at(-1);
      if (last === undefined || Math.hypot(x - last.x, y - last.y) >= STEP_MIN) {
        fitted.push({ x, y });
      }
    }
    return fitted;
  });
}

function range(values: readonly number[]): readonly [number, number] {
  return values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)] as const,
    [Infinity, -Infinity] as const,
  );
}

/** Each pixel's squared distance to the nearest stroke; null without strokes. */
function distanceMap(strokes: readonly Stroke[]): Float64Array | null {
  if (strokes.every((stroke) => stroke.length === 0)) return null;
  return Float64Array.from({ length: BITMAP_SIDE ** 2 }, (_, pixel) => {
    const [x, y] = [(pixel % BITMAP_SIDE) + 0.5, Math.floor(pixel / BITMAP_SIDE) + 0.5];
    let nearest = Infinity;
    for (const stroke of strokes) {
      let from = stroke[0];
      for (const to of stroke) {
        nearest = Math.min(nearest, distanceSquared(from ?? to, to, x, y));
        from = to;
      }
    }
    return nearest;
  });
}

/** Squared distance from (x, y) to the segment from a to b. */
function distanceSquared(a: Point, b: Point, x: number, y: number): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const along =
    length === 0 ? 0 : Math.min(1, Math.max(0, ((x - a.x) * dx + (y - a.y) * dy) / length));
  return (a.x + along * dx - x) ** 2 + (a.y + along * dy - y) ** 2;
}
