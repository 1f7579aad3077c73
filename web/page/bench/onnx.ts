/**
 * Encodes an ONNX model with one node: C = A · B, with B as part of the model. Field numbers are
 * those of onnx.proto3 (ir_version 8, operator set 13).
 */

const ELEMENT = { f32: 1, uint8: 2, int8: 3, int32: 6 } as const;

/** MatMulInteger (uint8 by int8) or MatMul (f32), both n x n. */
export function matMulModel(kind: "int8" | "f32", n: number): Uint8Array {
  const integer = kind === "int8";
  const length = n * n;
  const weights = integer
    ? Int8Array.from({ length }, (_, index) => ((index * 17) % 255) - 127)
    : Float32Array.from({ length }, (_, index) => ((index * 17) % 255) / 127 - 1);
  const node = join(
    text(1, "A"),
    text(1, "B"),
    text(2, "C"),
    text(4, integer ? "MatMulInteger" : "MatMul"),
  );
  const initializer = join(
    integerField(1, n),
    integerField(1, n),
    integerField(2, integer ? ELEMENT.int8 : ELEMENT.f32),
    text(8, "B"),
    bytes(9, new Uint8Array(weights.buffer)),
  );
  const graph = join(
    bytes(1, node),
    text(2, "product"),
    bytes(5, initializer),
    bytes(11, tensor("A", integer ? ELEMENT.uint8 : ELEMENT.f32, n)),
    bytes(12, tensor("C", integer ? ELEMENT.int32 : ELEMENT.f32, n)),
  );
  return join(
    integerField(1, 8),
    bytes(7, graph),
    bytes(8, join(text(1, ""), integerField(2, 13))),
  );
}

/** ValueInfoProto of an n x n tensor. */
function tensor(name: string, element: number, n: number): Uint8Array {
  const dimension = bytes(1, integerField(1, n));
  const shape = join(dimension, dimension);
  return join(text(1, name), bytes(2, bytes(1, join(integerField(1, element), bytes(2, shape)))));
}

function integerField(field: number, value: number): Uint8Array {
  return join(varint(field << 3), varint(value));
}

function bytes(field: number, content: Uint8Array): Uint8Array {
  return join(varint((field << 3) | 2), varint(content.length), content);
}

function text(field: number, content: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(content));
}

function varint(value: number): Uint8Array {
  const out: number[] = [];
  while (value >= 128) {
    out.push((value & 127) | 128);
    value = Math.floor(value / 128);
  }
  return Uint8Array.from([...out, value]);
}

function join(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}
