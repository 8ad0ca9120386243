// Does one job of the benchmark with Hyperbee or hyperbee2, in a process of its own.
import { cpSync } from "node:fs";
import path from "node:path";

import {
  VALUE_BYTES, changed, diskUse, ensure, indexes, keys, rounded, strings, timed, values,
} from "../../interop/workload.mjs";
import { print, record, run } from "./common.mjs";
import { clone, serve, sparse } from "./network.mjs";
import { TREES } from "./trees.mjs";

const tell = (task, use, result) => print(record(task, TREES[task.peer].name, use, result));

/** W3 and W4, which are single puts if a batch has one. */
async function put(task) {
  const { peer, folder, n, size, job } = task;
  const [allKeys, allValues] = [keys(n), values(n)];
  const entries = allKeys.map((key, i) => [key, allValues[i]]);
  const tree = await TREES[peer].open(folder);
  const time = await timed(async () => {
    for (let i = 0; i < n; i += size) await tree.putAll(entries.slice(i, i + size));
  });
  const more = { logBytes: tree.core.byteLength };
  await tree.close();
  const use = diskUse(folder);
  more.bytesPerEntry = rounded(use.diskBytes / n);
  tell(task, use, { workload: job, variant: peer, durability: "buffered", unit: "puts/s", ...time, more });
}

/** Runs `pass` over a tree that was just opened, and once more. */
async function twice(task, workload, unit, pass) {
  const tree = await TREES[task.peer].open(task.source);
  const times = [await timed(() => pass(tree)), await timed(() => pass(tree))];
  await tree.close();
  const use = diskUse(task.source);
  for (const [i, variant] of ["reopened", "warm"].entries()) {
    tell(task, use, { workload, variant, durability: "read", unit, ...times[i] });
  }
}

/** W5. */
async function get(task) {
  const { n, population } = task;
  const [allKeys, allValues, wanted] = [keys(population), values(population), indexes(4, n, population)];
  await twice(task, "W5", "gets/s", async (tree) => {
    for (const i of wanted) ensure((await tree.get(allKeys[i]))?.equals(allValues[i]), "an entry differs");
  });
}

/** W6. */
async function scan(task) {
  const allValues = values(task.population);
  const expected = keys(task.population).map((key, i) => [key, allValues[i]]);
  expected.sort((a, b) => Buffer.compare(a[0], b[0]));
  await twice(task, "W6", "entries/s", async (tree) => {
    let i = 0;
    for await (const entry of tree.entries()) {
      ensure(i < expected.length, "more entries than were put");
      const [key, value] = expected[i++];
      ensure(entry.key.equals(key) && entry.value.equals(value), "an entry differs");
    }
    ensure(i === expected.length, "entries are missing");
  });
}

/** W7's data: one batch over a copy of W4's. */
async function overwrite(task) {
  const { peer, source, folder, n, population } = task;
  // The file by which a store tells a copy stays behind: nobody goes on writing the original.
  cpSync(source, folder, { recursive: true, filter: (file) => path.basename(file) !== "CORESTORE" });
  const [allKeys, newValues] = [keys(population), strings(6, n, VALUE_BYTES)];
  const tree = await TREES[peer].open(folder);
  const entries = changed(population).map((key, i) => [allKeys[key], newValues[i]]);
  const time = await timed(() => tree.putAll(entries));
  await tree.close();
  const result = { workload: "W7", variant: "overwrite", durability: "buffered", unit: "puts/s", ...time };
  tell(task, diskUse(folder), result);
}

/** W7. */
async function diff(task) {
  // Its source is W7's data, made of a hundred times as many entries.
  const population = task.n * 100;
  const [before, after, allKeys] = [values(population), strings(6, task.n, VALUE_BYTES), keys(population)];
  const expected = changed(population).map((key, i) => [allKeys[key], before[key], after[i]]);
  expected.sort((a, b) => Buffer.compare(a[0], b[0]));
  await twice(task, "W7", "changes/s", async (tree) => {
    let i = 0;
    for await (const { left, right } of tree.changes()) {
      ensure(i < expected.length, "more changes than were made");
      const [key, old, now] = expected[i++];
      ensure(left.key.equals(key) && left.value.equals(now), "the new entry differs");
      ensure(right.key.equals(key) && right.value.equals(old), "the old entry differs");
    }
    ensure(i === expected.length, "changes are missing");
  });
}

/** W11. */
async function open(task) {
  const [key, value] = [keys(78)[77], values(78)[77]];
  let tree;
  const time = await timed(async () => {
    tree = await TREES[task.peer].open(task.source);
    ensure((await tree.get(key))?.equals(value), "an entry differs");
  });
  await tree.close();
  const more = { entries: task.population };
  const result = { workload: "W11", variant: "open", durability: "read", unit: "opens/s", ...time, more };
  tell(task, diskUse(task.source), result);
}

await run({
  W3: put, W4: put, W5: get, W6: scan, "W7-overwrite": overwrite, W7: diff, W8: clone, W9: sparse, W11: open, serve,
});
