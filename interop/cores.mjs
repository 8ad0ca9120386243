// Opens any number of cores in throw-away storage and replicates all of them over TCP, as told.
import readline from "node:readline";

import Protomux from "protomux";
import crypto from "hypercore-crypto";

import {
  UsageError, bytes, dial, hex, hypercore, listen, print, readArguments, run, scratchFolder,
  scratchStorage,
} from "./peer.mjs";

const HELP = `usage: cores.mjs [options]

  --version 10|11   which Hypercore (default 11)
  --store           keep the cores in a Corestore, which finds by itself what a connection is about

Reads a JSON object a line from standard input, and answers each with one once it is done. Bytes are
hex. Cores have names:
  {"open":NAME,"seed":BYTES,"compat":bool}  a core to write
  {"open":NAME,"key":BYTES,"push":bool}     somebody else's; "push": takes pushed blocks
  {"listen":true}                           answers {"port"}
  {"dial":PORT}                             answers {} once the handshake is done
Every connection has all cores, those opened later too. With "on":NAME for the core:
  {"append":[BYTES]}  {"truncate":LENGTH}  {"clear":[START,END]}  {"close":true}
  {"reach":[LENGTH,FORK]}   waits until the core has this fork and at least this length
  {"download":[START,END]}  waits until these blocks are here
  {"follow":true}           downloads all there is and will be, and doesn't wait
  {"held":COUNT}            waits until so many blocks are here
  {"get":SEQ}               answers {"block"}
  {"seek":OFFSET}           answers {"at":[SEQ,OFFSET WITHIN]}
  {"state":true}            answers {"key","length","byteLength","fork","treeHash","held":[SEQ]}
What changes a core is answered with its state, too. Ends when standard input does.
`;

/** The connections, and what of ours is on them. */
class Links {
  constructor(store) {
    this.store = store;
    this.muxes = [];
    this.cores = new Map();
  }

  /** Has every core on a new stream. */
  take(stream) {
    // Whoever goes away is missed by who waits for something, and by nobody else.
    stream.on("error", () => {});
    if (this.store) {
      this.store.replicate(stream);
      return;
    }
    const mux = new Protomux(stream);
    this.muxes.push(mux);
    stream.once("close", () => this.muxes.splice(this.muxes.indexOf(mux), 1));
    for (const core of this.cores.values()) core.replicate(mux);
  }

  add(name, core) {
    this.cores.set(name, core);
    for (const mux of this.muxes) core.replicate(mux);
  }

  core(name) {
    const core = this.cores.get(name);
    if (!core) throw new UsageError(`there is no core ${name}`);
    return core;
  }
}

async function open(version, store, order) {
  const options = {};
  if (order.seed !== undefined) {
    options.compat = order.compat === true;
    options.keyPair = crypto.keyPair(bytes("seed", order.seed, 32));
  }
  if (order.push) options.allowPush = true;
  const key = order.key === undefined ? null : bytes("key", order.key, 32);
  let core;
  if (store) {
    core = store.get(key ? { key } : options);
  } else {
    const Hypercore = await hypercore(version);
    core = new Hypercore(scratchStorage(version), key, options);
  }
  await core.ready();
  return core;
}

async function held(core) {
  const found = [];
  for (let seq = 0; seq < core.length; seq++) {
    if (await core.has(seq)) found.push(seq);
  }
  return found;
}

/**
 * By the roots that a core keeps in memory. Its own `treeHash` does more than look: that of
 * Hypercore 11 fetches the last block, and that of Hypercore 10 fails after a cut until the tree is
 * written, since it takes all nodes beyond the cut for missing, the new ones too.
 */
function treeHash(core) {
  const { roots } = core.state ?? core.core.tree;
  return crypto.tree(roots);
}

async function state(core) {
  return {
    key: hex(core.key),
    length: core.length,
    byteLength: core.byteLength,
    fork: core.fork,
    treeHash: hex(treeHash(core)),
    held: await held(core),
  };
}

/** Resolves once `holds` does; it may change whenever one of the events happens. */
async function until(core, events, holds) {
  while (true) {
    let wake;
    const changed = new Promise((resolve) => (wake = resolve));
    for (const event of events) core.on(event, wake);
    // Asked with the events already watched, so that none is missed.
    const done = await holds();
    if (!done) await changed;
    for (const event of events) core.off(event, wake);
    if (done) return;
  }
}

async function act(core, order) {
  if (order.append !== undefined) {
    await core.append(order.append.map((block) => bytes("append", block)));
  } else if (order.truncate !== undefined) {
    await core.truncate(order.truncate);
  } else if (order.clear !== undefined) {
    await core.clear(...order.clear);
  } else if (order.reach !== undefined) {
    const [length, fork] = order.reach;
    await until(core, ["append", "truncate"], () => core.fork === fork && core.length >= length);
  } else if (order.download !== undefined) {
    const [start, end] = order.download;
    await core.download({ start, end }).done();
  } else if (order.held !== undefined) {
    const events = ["download", "append", "truncate"];
    await until(core, events, async () => (await held(core)).length >= order.held);
  } else if (order.follow !== undefined) {
    core.download({ start: 0, end: -1 });
  } else if (order.get !== undefined) {
    return { block: hex(await core.get(order.get)) };
  } else if (order.seek !== undefined) {
    return { at: await core.seek(order.seek) };
  } else if (order.close !== undefined) {
    await core.close();
    return {};
  } else if (order.state === undefined) {
    throw new UsageError(`not an order: ${JSON.stringify(order)}`);
  }
  return await state(core);
}

await run(async () => {
  const { values: given } = readArguments(HELP, {
    version: { type: "string", default: "11" },
    store: { type: "boolean", default: false },
  });
  let store = null;
  if (given.store) {
    if (given.version !== "11") throw new UsageError("--store needs version 11");
    const { default: Corestore } = await import("corestore");
    store = new Corestore(scratchFolder());
    await store.ready();
  }
  const links = new Links(store);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.open !== undefined) {
      const core = await open(given.version, store, order);
      links.add(order.open, core);
      print(await state(core));
    } else if (order.listen !== undefined) {
      print({ port: await listen((stream) => links.take(stream)) });
    } else if (order.dial !== undefined) {
      const stream = dial(order.dial);
      links.take(stream);
      if (!(await stream.opened)) throw new Error("the connection failed");
      print({});
    } else {
      print(await act(links.core(order.on), order));
    }
  }
});
