/**
 * Lets the compiler pass before `cargo xtask` has generated the glue. A pattern
 * declaration yields to the real declaration file where one exists.
 */
declare module "*/tequio_wasm.js";
