// Hyperbee and hyperbee2 behind one face: what the workloads need of a tree.
import Corestore from "corestore";
import Hyperbee from "hyperbee";
import Hyperbee2 from "hyperbee2";
import Hypercore from "hypercore";
import crypto from "hypercore-crypto";

// That of the trees which `interop/bench.mjs` writes.
const keyPair = crypto.keyPair(Buffer.alloc(32, 1));

/** A Hyperbee in a Hypercore with a folder of its own. */
class First {
  constructor(bee) {
    this.bee = bee;
    this.core = bee.core;
  }

  /** Our own one, or with `key` a copy of somebody else's. */
  static async open(folder, key = null) {
    const core = key ? new Hypercore(folder, key) : new Hypercore(folder, { keyPair });
    await core.ready();
    return new First(new Hyperbee(core, { keyEncoding: "binary", valueEncoding: "binary" }));
  }

  ready() {
    return this.bee.ready();
  }

  async get(key) {
    return (await this.bee.get(key))?.value;
  }

  close() {
    return this.bee.close();
  }
}

/** A hyperbee2 in a Corestore. */
class Second {
  constructor(bee) {
    this.bee = bee;
  }

  get core() {
    return this.bee.core;
  }

  static async open(folder, key = null) {
    const bee = new Hyperbee2(new Corestore(folder), key ? { key, autoUpdate: true } : {});
    await bee.core.ready();
    if (!key) await bee.ready();
    return new Second(bee);
  }

  ready() {
    return this.bee.ready();
  }

  async get(key) {
    return (await this.bee.get(key))?.value;
  }

  /** Puts entries as one commit. */
  async putAll(entries) {
    const batch = this.bee.write();
    for (const [key, value] of entries) batch.tryPut(key, value);
    await batch.flush();
  }

  entries() {
    return this.bee.createReadStream();
  }

  /** What the last commit has changed. */
  changes() {
    return this.bee.createDiffStream(this.bee.undo(1));
  }

  close() {
    return this.bee.close();
  }
}

/** By the name of the peer: the name of its package, and how to open it. */
export const TREES = {
  node: { name: "hyperbee", open: First.open },
  hyperbee2: { name: "hyperbee2", open: Second.open },
};
