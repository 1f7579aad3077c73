/** The URL of the light node's code, as bundlers with a file loader for `.wasm` give it. */
declare const url: string;
export default url;
