/**
 * The keyed hash of BLAKE3 for a text of one chunk (1024 bytes), which an id is: Web Crypto has none, and
 * the older signature of callbacks is made with it. Additions, rotations and exclusive ors only, so that its
 * time does not depend on the key.
 */

const IV = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
] as const;
/** The order in which a round finds the words of the round before. */
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8] as const;
const CHUNK_START = 1;
const CHUNK_END = 2;
const ROOT = 8;
const KEYED_HASH = 16;
const BLOCK = 64;
const CHUNK = 1024;

export function keyedHash(key: Uint8Array, text: Uint8Array): Uint8Array {
  if (text.length > CHUNK) throw new RangeError(`a text of ${text.length} bytes is no id`);
  const blocks = Math.max(1, Math.ceil(text.length / BLOCK));
  let chain = words(key, 8);
  for (let nth = 0; nth < blocks; nth++) {
    const block = text.subarray(nth * BLOCK, (nth + 1) * BLOCK);
    const first = nth === 0 ? CHUNK_START : 0;
    const last = nth === blocks - 1 ? CHUNK_END | ROOT : 0;
    chain = compress(chain, words(block, 16), block.length, KEYED_HASH | first | last);
  }
  const hash = new DataView(new ArrayBuffer(32));
  chain.forEach((word, n) => hash.setUint32(4 * n, word, true));
  return new Uint8Array(hash.buffer);
}

/** Bytes as little-endian words, filled up with zeros. */
function words(bytes: Uint8Array, count: number): Uint32Array {
  const view = new DataView(new ArrayBuffer(4 * count));
  bytes.forEach((byte, n) => view.setUint8(n, byte));
  return Uint32Array.from({ length: count }, (_, n) => view.getUint32(4 * n, true));
}

/** The counter is that of the only chunk, 0. */
function compress(chain: Uint32Array, block: Uint32Array, length: number, flags: number): Uint32Array {
  const state = Uint32Array.from([...chain, ...IV.slice(0, 4), 0, 0, length, flags]);
  const at = (n: number) => state[n] as number;
  const mix = (a: number, b: number, c: number, d: number, x: number, y: number) => {
    state[a] = at(a) + at(b) + x;
    state[d] = rotate(at(d) ^ at(a), 16);
    state[c] = at(c) + at(d);
    state[b] = rotate(at(b) ^ at(c), 12);
    state[a] = at(a) + at(b) + y;
    state[d] = rotate(at(d) ^ at(a), 8);
    state[c] = at(c) + at(d);
    state[b] = rotate(at(b) ^ at(c), 7);
  };
  let message = block;
  for (let round = 0; round < 7; round++) {
    const word = (n: number) => message[n] as number;
    for (let n = 0; n < 4; n++) mix(n, 4 + n, 8 + n, 12 + n, word(2 * n), word(2 * n + 1));
    for (let n = 0; n < 4; n++) {
      mix(n, 4 + ((n + 1) % 4), 8 + ((n + 2) % 4), 12 + ((n + 3) % 4), word(8 + 2 * n), word(9 + 2 * n));
    }
    message = Uint32Array.from(PERMUTATION, word);
  }
  return Uint32Array.from({ length: 8 }, (_, n) => at(n) ^ at(n + 8));
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
