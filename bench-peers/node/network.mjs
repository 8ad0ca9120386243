// W8 and W9: a tree downloaded from another process, all of it or single entries.
import { spawn } from "node:child_process";
import readline from "node:readline";

import Protomux from "protomux";

import {
  KEY_BYTES, VALUE_BYTES, diskUse, ensure, indexes, keys, rounded, timed, values,
} from "../../interop/workload.mjs";
import { dial, inputEnds, listen, print, record } from "./common.mjs";
import { TREES } from "./trees.mjs";

/** Serves the tree of W4 until the input ends. */
export async function serve({ peer, source }) {
  const tree = await TREES[peer].open(source);
  await tree.ready();
  const port = await listen((stream) => {
    // A client that goes away is no concern of the server.
    stream.on("error", () => {});
    tree.core.replicate(new Protomux(stream));
  });
  const treeHash = (await tree.core.treeHash()).toString("hex");
  const time = await timed(async () => {
    print({ port, key: tree.core.key.toString("hex"), length: tree.core.length, treeHash });
    await inputEnds();
  });
  print({ rssKiB: process.resourceUsage().maxRSS, cpuMs: rounded(time.cpuMs) });
  await tree.close();
}

/** Another process, which answers with lines of JSON and ends with its input. */
class Helper {
  constructor(program, args) {
    this.child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async hear() {
    const { value, done } = await this.lines.next();
    ensure(!done, "a helping process ended");
    return JSON.parse(value);
  }

  end() {
    this.child.stdin.end();
  }
}

const server = (task) =>
  new Helper(process.execPath, [process.argv[1], "--task", JSON.stringify({ ...task, job: "serve" })]);

/** An empty copy that is connected, and the stream to the server. */
async function connect({ peer, folder }, key, port) {
  const tree = await TREES[peer].open(folder, Buffer.from(key, "hex"));
  const begin = () => {
    const stream = dial(port);
    stream.on("error", (error) => process.stderr.write(`the connection: ${error.message}\n`));
    tree.core.replicate(new Protomux(stream));
    return stream;
  };
  return { tree, begin };
}

/** Resolves once the core is so long. */
function reached(core, length) {
  return new Promise((resolve) => {
    const look = () => {
      if (core.length < length) return;
      core.off("append", look);
      resolve();
    };
    core.on("append", look);
    look();
  });
}

/** W8. */
export async function clone(task) {
  const helper = server(task);
  const { port, key, length, treeHash } = await helper.hear();
  const { tree, begin } = await connect(task, key, port);
  let stream;
  const time = await timed(async () => {
    stream = begin();
    await reached(tree.core, length);
    await tree.core.download({ start: 0, end: length }).done();
  });
  ensure(tree.core.contiguousLength === length, "blocks are missing");
  ensure((await tree.core.treeHash()).toString("hex") === treeHash, "the copy has another hash");
  const wire = { wireBytesIn: stream.rawBytesRead, wireBytesOut: stream.rawBytesWritten };
  helper.end();
  const account = await helper.hear();
  await tree.close();
  const payloadMbPerS = rounded((task.n * (KEY_BYTES + VALUE_BYTES)) / 1000 / time.ms);
  const more = { payloadMbPerS, blocks: length, ...wire, serverRssKiB: account.rssKiB, serverCpuMs: account.cpuMs };
  const result = { workload: "W8", variant: "clone", durability: "buffered", unit: "entries/s", ...time, more };
  print(record(task, TREES[task.peer].name, diskUse(task.folder), result));
}

/** W9: a first half of the gets one after another, the second all at once. */
export async function sparse(task) {
  const helper = server(task);
  const offer = await helper.hear();
  const far = task.size > 0 ? new Helper(task.distance, ["bench", "--distance", `${offer.port}`, `${task.size}`]) : null;
  const port = far === null ? offer.port : await far.hear();
  const { tree, begin } = await connect(task, offer.key, port);
  const stream = begin();
  await reached(tree.core, offer.length);
  await tree.ready();
  let blocks = 0;
  tree.core.on("download", () => (blocks += 1));
  const [allKeys, allValues] = [keys(task.population), values(task.population)];
  const wanted = indexes(7, 2 * task.n, task.population);
  const check = async (i) => ensure((await tree.get(allKeys[i]))?.equals(allValues[i]), "an entry differs");
  const halves = [
    ["sequential", async (some) => { for (const i of some) await check(i); }],
    ["100 concurrent", (some) => Promise.all(some.map(check))],
  ];
  const results = [];
  for (const [half, [name, work]] of halves.entries()) {
    const before = { blocks, read: stream.rawBytesRead, written: stream.rawBytesWritten };
    const time = await timed(() => work(wanted.slice(half * task.n, (half + 1) * task.n)));
    const trips = time.ms / task.size;
    const distance = task.size > 0 ? { roundTrips: rounded(trips), roundTripsPerGet: rounded(trips / task.n) } : {};
    const wire = { wireBytesIn: stream.rawBytesRead - before.read, wireBytesOut: stream.rawBytesWritten - before.written };
    const more = { blocks: blocks - before.blocks, ...wire, ...distance };
    const variant = `${task.size} ms ${name}`;
    results.push({ workload: "W9", variant, durability: "buffered", unit: "gets/s", ...time, more });
  }
  helper.end();
  far?.end();
  await tree.close();
  const use = diskUse(task.folder);
  for (const result of results) print(record(task, TREES[task.peer].name, use, result));
}
