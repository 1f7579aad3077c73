/**
 * The page's stepped fret: a tile in the style of the mosaics of Mitla, used as an ornament
 * and as the pattern of a job's progress.
 */
import { svg } from "../dom.js";

const TILE = [
  "#.............",
  "##....#######.",
  "###...#.....#.",
  "####..#.###.#.",
  "#####.#.#.#.#.",
  "#####.#...#.#.",
  "######...##.#.",
  "##########..##",
] as const;

export const TILE_WIDTH = TILE[0].length;
export const TILE_HEIGHT = TILE.length;

/** Whether the pattern is raised at this column and row. */
export function isRaised(column: number, row: number): boolean {
  return TILE[row]?.[column % TILE_WIDTH] === "#";
}

/** A strip of `tiles` tiles in the text's colour. */
export function ornament(tiles: number): SVGElement {
  const cells: string[] = [];
  for (let column = 0; column < TILE_WIDTH * tiles; column += 1) {
    for (let row = 0; row < TILE_HEIGHT; row += 1) {
      if (isRaised(column, row)) cells.push(`M${column} ${row}h1v1h-1z`);
    }
  }
  return svg(
    "svg",
    {
      class: "ornament",
      viewBox: `0 0 ${TILE_WIDTH * tiles} ${TILE_HEIGHT}`,
      "aria-hidden": "true",
      "shape-rendering": "crispEdges",
    },
    svg("path", { d: cells.join("") }),
  );
}
