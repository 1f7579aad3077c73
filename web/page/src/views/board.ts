/**
 * The drawing board: strokes by pointer, or cell by cell by keyboard. It keeps strokes, not pixels,
 * so that the digit scales without blur.
 */
import { h } from "../dom.js";
import type { Point, Stroke } from "../digit.js";
import { colour } from "../theme.js";

/** Cells per side for the keyboard's cursor. */
const BOARD_CELLS = 16;
/** The pen's width, as a part of the board. */
const PEN_WIDTH = 0.085;
/** The most points that are kept; a person needs far fewer. */
const POINTS_MAX = 20_000;

const MOVES: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The canvas on which the person draws. */
export class Board {
  readonly element: HTMLCanvasElement;
  readonly #changed: () => void;
  #strokes: Point[][] = [];
  #points = 0;
  #cursor = { x: BOARD_CELLS / 2, y: BOARD_CELLS / 2 };
  #lastPainted: Point | null = null;
  #keyboard = false;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.element = h("canvas", {
      class: "board",
      tabindex: 0,
      role: "application",
      "data-testid": "canvas",
      onpointerdown: (event: PointerEvent) => this.#press(event),
      onpointermove: (event: PointerEvent) => this.#drag(event),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
      onfocus: () => this.draw(),
      onblur: () => this.draw(),
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** The strokes drawn so far. */
  get strokes(): readonly Stroke[] {
    return this.#strokes;
  }

  /** The cursor's cell, counted from 1. */
  get cursor(): { x: number; y: number } {
    return { x: this.#cursor.x + 1, y: this.#cursor.y + 1 };
  }

  /** Removes all strokes. */
  clear(): void {
    this.#strokes = [];
    this.#points = 0;
    this.#lastPainted = null;
    this.draw();
    this.#changed();
  }

  /** Draws the grid, the strokes and the keyboard's cursor. */
  draw(): void {
    const { element } = this;
    const side = Math.round(element.clientWidth * devicePixelRatio);
    if (side === 0) return;
    if (element.width !== side) element.width = element.height = side;
    const pen = element.getContext("2d");
    if (pen === null) return;
    pen.clearRect(0, 0, side, side);
    const cell = side / BOARD_CELLS;
    pen.fillStyle = colour("line");
    for (let x = 1; x < BOARD_CELLS; x += 1) {
      for (let y = 1; y < BOARD_CELLS; y += 1) pen.fillRect(x * cell - 1, y * cell - 1, 2, 2);
    }
    pen.strokeStyle = colour("ink");
    pen.lineWidth = PEN_WIDTH * side;
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of this.#strokes) {
      pen.beginPath();
      stroke.forEach(({ x, y }, index) => {
        if (index === 0) pen.moveTo(x * side, y * side);
        else pen.lineTo(x * side, y * side);
      });
      if (stroke[0] && stroke.length === 1) pen.lineTo(stroke[0].x * side, stroke[0].y * side);
      pen.stroke();
    }
    if (this.#keyboard && document.activeElement === element) {
      pen.strokeStyle = colour("cochineal");
      pen.lineWidth = 3 * devicePixelRatio;
      pen.strokeRect(this.#cursor.x * cell, this.#cursor.y * cell, cell, cell);
    }
  }

  #press(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#keyboard = false;
    this.#lastPainted = null;
    this.element.setPointerCapture(event.pointerId);
    this.#add(this.#pointOf(event), true);
  }

  #drag(event: PointerEvent): void {
    if (!this.element.hasPointerCapture(event.pointerId)) return;
    // Coalesced events carry the points between two frames, so that round digits stay round.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) this.#add(this.#pointOf(each), false);
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key];
    if (move) {
      if (event.shiftKey) this.#paintCell();
      const clamp = (value: number) => Math.min(BOARD_CELLS - 1, Math.max(0, value));
      this.#cursor = { x: clamp(this.#cursor.x + move[0]), y: clamp(this.#cursor.y + move[1]) };
      if (event.shiftKey) this.#paintCell();
    } else if (event.key === " ") {
      this.#paintCell();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.#keyboard = true;
    this.draw();
    this.#changed();
  }

  /** Paints the cursor's cell. A cell next to the last painted one continues its line. */
  #paintCell(): void {
    const point = {
      x: (this.#cursor.x + 0.5) / BOARD_CELLS,
      y: (this.#cursor.y + 0.5) / BOARD_CELLS,
    };
    const last = this.#lastPainted;
    const near =
      last !== null &&
      Math.max(Math.abs(last.x - point.x), Math.abs(last.y - point.y)) < 1.5 / BOARD_CELLS;
    this.#add(point, !near);
    this.#lastPainted = point;
  }

  #pointOf(event: PointerEvent): Point {
    const { left, top, width, height } = this.element.getBoundingClientRect();
    const clamp = (value: number) => Math.min(1, Math.max(0, value));
    return { x: clamp((event.clientX - left) / width), y: clamp((event.clientY - top) / height) };
  }

  #add(point: Point, start: boolean): void {
    if (this.#points >= POINTS_MAX) return;
    this.#points += 1;
    const stroke = this.#strokes.at(-1);
    if (start || stroke === undefined) this.#strokes.push([point]);
    else stroke.push(point);
    this.draw();
    this.#changed();
  }
}
