// Does one job of the benchmark with Hypercore 11 or Hyperbee, in a process of its own.
import { createRequire } from "node:module";
import { cpSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import Hyperbee from "hyperbee";
import Hypercore from "hypercore";
import crypto from "hypercore-crypto";

import { print, readArguments, run, UsageError } from "./peer.mjs";
import {
  BLOCK_BYTES, VALUE_BYTES, changed, checkGenerator, diskUse, ensure, indexes, keys, rounded, strings,
  timed, values,
} from "./workload.mjs";

const HELP = `usage: bench.mjs --task JSON

Does what \`cargo xtask bench --peers node\` asks for, and prints one result a line.
  {"job":"W1".."W7"|"W7-overwrite","size":N,"n":N,"population":N,"source":PATH,"folder":PATH,
   "run":N,"quick":BOOLEAN}
"size" is that of a batch, or the number of reads in flight; "n" the number of operations;
"population" that of blocks or entries in "source", which is read; "folder" is written.
`;

const keyPair = crypto.keyPair(Buffer.alloc(32, 1));

async function openCore(folder) {
  const core = new Hypercore(folder, { keyPair });
  await core.ready();
  return core;
}

async function openBee(folder) {
  const core = await openCore(folder);
  const bee = new Hyperbee(core, { keyEncoding: "binary", valueEncoding: "binary" });
  await bee.ready();
  return bee;
}

/** W1. */
async function append({ folder, n, size }) {
  const blocks = strings(3, n, BLOCK_BYTES);
  const core = await openCore(folder);
  const time = await timed(async () => {
    for (let i = 0; i < n; i += size) {
      await core.append(size === 1 ? blocks[i] : blocks.slice(i, i + size));
    }
  });
  ensure(core.length === n, "the log has another length");
  await core.close();
  const mbPerS = rounded((n * BLOCK_BYTES) / 1000 / time.ms);
  return [{ variant: `batch${size}`, durability: "buffered", unit: "blocks/s", ...time, more: { mbPerS } }];
}

/** W2: one at a time, or `size` in flight. */
async function readBlocks({ source, n, population, size }) {
  const blocks = strings(3, population, BLOCK_BYTES);
  const wanted = indexes(4, n, population);
  const core = await openCore(source);
  const check = async (i) => ensure((await core.get(i)).equals(blocks[i]), "a block differs");
  const time = await timed(async () => {
    if (size === 1) {
      for (const i of wanted) await check(i);
    } else {
      for (let i = 0; i < n; i += size) await Promise.all(wanted.slice(i, i + size).map(check));
    }
  });
  await core.close();
  const variant = size === 1 ? "sequential-await" : `${size}-in-flight`;
  return [{ variant, durability: "read", unit: "gets/s", ...time, more: { inFlight: size } }];
}

/** W3. */
async function putSingle({ folder, n }) {
  const [allKeys, allValues] = [keys(n), values(n)];
  return put(folder, n, async (bee) => {
    for (let i = 0; i < n; i++) await bee.put(allKeys[i], allValues[i]);
  });
}

/** W4. */
async function putBatch({ folder, n, size }) {
  const [allKeys, allValues] = [keys(n), values(n)];
  return put(folder, n, async (bee) => {
    for (let start = 0; start < n; start += size) {
      const batch = bee.batch();
      for (let i = start; i < start + size; i++) await batch.put(allKeys[i], allValues[i]);
      await batch.flush();
    }
  });
}

/** Puts `n` entries into a new tree, by `work`. */
async function put(folder, n, work) {
  const bee = await openBee(folder);
  const time = await timed(() => work(bee));
  // The header is a block, too.
  ensure(bee.version === n + 1, "the tree has another number of puts");
  const more = { logBytes: bee.core.byteLength };
  await bee.close();
  return [{ variant: "hyperbee", durability: "buffered", unit: "puts/s", ...time, more }];
}

/** Runs `pass` over a tree that was just opened, and once more. */
async function twice(source, unit, pass) {
  const bee = await openBee(source);
  const reopened = await timed(() => pass(bee));
  const warm = await timed(() => pass(bee));
  await bee.close();
  const common = { durability: "read", unit };
  return [
    { variant: "reopened", ...common, ...reopened },
    { variant: "warm", ...common, ...warm },
  ];
}

/** W5. */
async function get({ source, n, population }) {
  const [allKeys, allValues, wanted] = [keys(population), values(population), indexes(4, n, population)];
  return twice(source, "gets/s", async (bee) => {
    for (const i of wanted) {
      const entry = await bee.get(allKeys[i]);
      ensure(entry !== null && entry.value.equals(allValues[i]), "an entry differs");
    }
  });
}

/** W6. */
async function scan({ source, population }) {
  const allValues = values(population);
  const expected = keys(population).map((key, i) => [key, allValues[i]]);
  expected.sort((a, b) => Buffer.compare(a[0], b[0]));
  return twice(source, "entries/s", async (bee) => {
    let i = 0;
    for await (const entry of bee.createReadStream()) {
      ensure(i < population, "more entries than were put");
      const [key, value] = expected[i++];
      ensure(entry.key.equals(key) && entry.value.equals(value), "an entry differs");
    }
    ensure(i === population, "entries are missing");
  });
}

/** W7's data: one batch over a copy of W4's. */
async function overwrite({ source, folder, n, population }) {
  // The file by which Hypercore tells a copy stays behind: nobody goes on writing the original.
  const isCopied = (file) => path.basename(file) !== "CORESTORE";
  cpSync(source, folder, { recursive: true, filter: isCopied });
  const [allKeys, newValues] = [keys(population), strings(6, n, VALUE_BYTES)];
  const bee = await openBee(folder);
  const time = await timed(async () => {
    const batch = bee.batch();
    for (const [i, key] of changed(population).entries()) await batch.put(allKeys[key], newValues[i]);
    await batch.flush();
  });
  await bee.close();
  return [{ variant: "overwrite", durability: "buffered", unit: "puts/s", ...time }];
}

/** W7. */
async function diff({ source, n }) {
  // Its source is W7's data, made of a hundred times as many entries.
  const population = n * 100;
  const [before, after] = [values(population), strings(6, n, VALUE_BYTES)];
  const allKeys = keys(population);
  const expected = changed(population).map((key, i) => [allKeys[key], before[key], after[i]]);
  expected.sort((a, b) => Buffer.compare(a[0], b[0]));
  return twice(source, "changes/s", async (bee) => {
    let i = 0;
    for await (const { left, right } of bee.createDiffStream(bee.version - n)) {
      ensure(i < n, "more changes than were made");
      const [key, old, now] = expected[i++];
      ensure(left.key.equals(key) && left.value.equals(now), "the new entry differs");
      ensure(right.key.equals(key) && right.value.equals(old), "the old entry differs");
    }
    ensure(i === n, "changes are missing");
  });
}

const JOBS = {
  W1: append,
  W2: readBlocks,
  W3: putSingle,
  W4: putBatch,
  W5: get,
  W6: scan,
  "W7-overwrite": overwrite,
  W7: diff,
};

/** The version of a package that is installed. */
function version(name) {
  const file = createRequire(import.meta.url).resolve(`${name}/package.json`);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

/** The line of one result, once the data is closed. */
function record(task, { variant, durability, unit, ms, cpuMs, more }) {
  const { job, n, run, quick } = task;
  const name = ["W1", "W2"].includes(job) ? "hypercore" : "hyperbee";
  const below = name === "hyperbee" ? { hypercore: version("hypercore") } : {};
  const use = diskUse(durability === "read" ? task.source : task.folder);
  const perEntry = ["W3", "W4"].includes(job) ? { bytesPerEntry: rounded(use.diskBytes / n) } : {};
  return {
    peer: name,
    version: version(name),
    workload: job.slice(0, 2),
    variant,
    durability,
    n,
    ms: rounded(ms),
    cpuMs: rounded(cpuMs),
    rate: rounded((n / ms) * 1000),
    // Below the resolution of the clock no rate can be told.
    cpuRate: cpuMs > 0 ? rounded((n / cpuMs) * 1000) : null,
    unit,
    peakRssKiB: process.resourceUsage().maxRSS,
    ...use,
    load1: os.loadavg()[0],
    run,
    quick,
    ...more,
    ...perEntry,
    ...below,
  };
}

await run(async () => {
  const { values: given } = readArguments(HELP, { task: { type: "string" } });
  if (given.task === undefined) throw new UsageError("--task is missing");
  const task = JSON.parse(given.task);
  const job = JOBS[task.job];
  if (job === undefined) throw new UsageError(`there is no job ${task.job}`);
  checkGenerator();
  for (const result of await job(task)) print(record(task, result));
});
