// The data of the workloads and what measures them: the same for all that runs on Node. Uses no package.
import { readdirSync, statSync } from "node:fs";
import path from "node:path";

export const KEY_BYTES = 16;
export const VALUE_BYTES = 100;
export const BLOCK_BYTES = 128;

/** The generator xoshiro128**, seeded as the workloads say. */
class Generator {
  constructor(seed) {
    this.state = new Uint32Array([seed, 0x9e3779b9, 0x243f6a88, 0xb7e15162]);
    for (let discarded = 0; discarded < 16; discarded++) this.draw();
  }

  draw() {
    const s = this.state;
    const product = Math.imul(s[1], 5);
    const output = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return output;
  }
}

/** `count` strings of `size` bytes. */
export function strings(seed, count, size) {
  const generator = new Generator(seed);
  const all = Buffer.alloc(count * size);
  for (let at = 0; at < all.length; at += 4) all.writeUInt32LE(generator.draw(), at);
  return Array.from({ length: count }, (_, i) => all.subarray(i * size, (i + 1) * size));
}

/** `count` random numbers below `range`. */
export function indexes(seed, count, range) {
  const generator = new Generator(seed);
  return Array.from({ length: count }, () => generator.draw() % range);
}

export const keys = (count) => strings(1, count, KEY_BYTES);
export const values = (count) => strings(2, count, VALUE_BYTES);

export function ensure(is, what) {
  if (!is) throw new Error(what);
}

/** Fails unless the data is what every peer has: the check values of the workloads. */
export function checkGenerator() {
  const starts = [
    [keys(1)[0], "034b354b1d50f9379c14472dbfd1f690"],
    [values(1)[0], "ac6f61ef1c490f63153e83f8314664d3"],
    [strings(3, 1, BLOCK_BYTES)[0], "baf4895e4c18c209a33992c9a357ecb5"],
  ];
  for (const [string, start] of starts) ensure(string.toString("hex", 0, 16) === start, "wrong data");
  ensure(indexes(4, 3, 100000).join() === "13285,52945,64039", "wrong random numbers");
}

/** Wall and processor time of `work`, in milliseconds. */
export async function timed(work) {
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  await work();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000 };
}

/** What W7 overwrites. */
export const changed = (population) => indexes(5, population / 100, 100).map((below, i) => i * 100 + below);

/** Bytes of all files below a folder: as they say, and as the disk has them. */
export function diskUse(folder) {
  const use = { diskBytes: 0, diskAllocated: 0 };
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const { size, blocks } = statSync(path.join(entry.parentPath ?? entry.path, entry.name));
    use.diskBytes += size;
    use.diskAllocated += blocks * 512;
  }
  return use;
}

/** To three digits after the point. */
export const rounded = (number) => Math.round(number * 1000) / 1000;

/** Microseconds since 1970. */
export const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

/** What device number `device` of W10 writes: every fifth key is one that all devices write. */
export function deviceWrites(device, count) {
  const own = strings(1000 + device, count - count / 5, KEY_BYTES);
  const shared = strings(999, count / 5, KEY_BYTES);
  const written = strings(2000 + device, count, VALUE_BYTES);
  let [ownTaken, sharedTaken] = [0, 0];
  return written.map((value, i) => [(i + 1) % 5 === 0 ? shared[sharedTaken++] : own[ownTaken++], value]);
}

/** What one device of W10 writes while another one is away. */
export function missedWrites(count) {
  const written = strings(2000, count, VALUE_BYTES);
  return strings(1000, count, KEY_BYTES).map((key, i) => [key, written[i]]);
}
