/**
 * Compares the hand-declared boundary of `wasm-types.ts` with the declarations that wasm-bindgen
 * generates. The check is done by the compiler: a difference fails `npm run check`, and the error
 * names the function, method or property. Values that wasm-bindgen declares as `any` fit any type.
 *
 * Without `../wasm/tequio_wasm.d.ts` every check fails; `cargo xtask test --only wasm` builds it.
 */
import type * as generated from "../wasm/tequio_wasm.js";
import type { WireModel, WireModule, WireNode } from "../src/wasm-types.js";

type Glue = typeof generated;

/** The names of one side only, and those of both sides whose declarations differ. */
interface Differences<Generated, Declared> {
  onlyGenerated: Exclude<keyof Generated & string, keyof Declared>;
  onlyDeclared: Exclude<keyof Declared & string, keyof Generated>;
  different: {
    [Name in keyof Generated & keyof Declared & string]: Fits<
      Generated[Name],
      Declared[Name]
    > extends true
      ? never
      : Name;
  }[keyof Generated & keyof Declared & string];
}

/** Whether a program that follows the declaration may use the generated item. */
type Fits<Generated, Declared> = Declared extends (...parameters: infer Given) => infer Expected
  ? Generated extends (...parameters: infer Taken) => infer Returned
    ? [Given["length"], Taken["length"], Given, Returned] extends [
        Taken["length"],
        Given["length"],
        Taken,
        Expected,
      ]
      ? true
      : false
    : false
  : [Generated, Declared] extends [Declared, Generated]
    ? true
    : false;

type None<Found extends Record<keyof Differences<unknown, unknown>, never>> = Found;

/** The functions. `started` runs by itself, and `cargo xtask` adds `MODULE_BYTES` to the script. */
export type Functions = None<
  Differences<
    Omit<Glue, "LightNode" | "Model" | "started">,
    Omit<WireModule, "LightNode" | "MODULE_BYTES">
  >
>;
/** The static methods of the class `LightNode`. */
export type NodeClass = None<
  Differences<Omit<Glue["LightNode"], "prototype">, WireModule["LightNode"]>
>;
/** The node's methods. `close` ends a node, so the package never calls `free`. */
export type Node = None<Differences<Omit<generated.LightNode, "free">, WireNode>>;
/** The model's methods and properties. */
export type Model = None<Differences<generated.Model, WireModel>>;
