// Is one device of W10 with Autobase: does what its input says, line by line, and answers each with one.
import { createHash } from "node:crypto";
import readline from "node:readline";

import Autobase from "autobase";
import Corestore from "corestore";
import Hyperbee from "hyperbee";

import { deviceWrites, diskUse, ensure, missedWrites, nowUs, timed } from "../../interop/workload.mjs";
import { dial, listen, print, run, version } from "./common.mjs";

// The first byte of what writers append: somebody's key, or a key and a value.
const [ADMIT, PUT] = [0, 1];
const KEY_BYTES = 16;
/** Nothing takes this long unless something is stuck. */
const PATIENCE_MS = 300_000;

/** How much of each writer's log was applied, by the writer's key in hex. */
const applied = new Map();

const view = {
  valueEncoding: "binary",
  open(store) {
    const core = store.get("view");
    return new Hyperbee(core, { extension: false, keyEncoding: "binary", valueEncoding: "binary" });
  },
  async apply(nodes, bee, host) {
    const batch = bee.batch({ update: false });
    for (const { value, from, length } of nodes) {
      const writer = from.key.toString("hex");
      applied.set(writer, Math.max(length, applied.get(writer) ?? 0));
      const rest = value.subarray(1);
      if (value[0] === ADMIT) await host.addWriter(rest, { indexer: true });
      else await batch.put(rest.subarray(0, KEY_BYTES), rest.subarray(KEY_BYTES));
    }
    await batch.flush();
  },
};

/** What `look` gives, once the base does not put another view in place of the one that it looks at. */
async function steady(look) {
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (error.code !== "SESSION_CLOSED") throw error;
    }
  }
}

const put = ([key, value]) => Buffer.concat([Buffer.from([PUT]), key, value]);

class Device {
  constructor(task, number, store) {
    Object.assign(this, { task, number, store, base: null, places: [], dialled: [], streams: [], sent: 0 });
  }

  /** Replicates on a connection, and goes on counting what is sent when that is over. */
  attach(stream) {
    this.streams.push(stream);
    stream.on("error", () => {});
    stream.on("close", () => {
      this.streams = this.streams.filter((other) => other !== stream);
      this.sent += stream.rawBytesWritten;
    });
    this.base.replicate(stream);
  }

  /** Waits until something is so; what it looks at changes with the base. */
  async until(is) {
    const begun = Date.now();
    while (!(await is())) {
      ensure(Date.now() - begun < PATIENCE_MS, "nothing happened any more");
      await new Promise((resolve) => {
        const timer = setTimeout(wake, 5);
        const base = this.base;
        function wake() {
          clearTimeout(timer);
          base.off("update", wake);
          resolve();
        }
        base.once("update", wake);
      });
    }
  }

  connect() {
    this.dialled = this.places.slice(0, this.number).map(({ port }) => dial(port));
    this.dialled.forEach((stream) => this.attach(stream));
  }

  async admit(places) {
    this.places = places.map(({ port, key }) => ({ port, key: Buffer.from(key, "hex") }));
    this.base = new Autobase(this.store, this.number === 0 ? null : this.places[0].key, view);
    await this.base.ready();
    return true;
  }

  async join() {
    this.connect();
    const others = this.places.slice(1);
    if (this.number === 0) {
      await this.until(() => this.streams.length === others.length);
      for (const { key } of others) await this.base.append(Buffer.concat([Buffer.from([ADMIT]), key]));
    }
    await this.until(async () => {
      await this.base.update();
      return this.base.writable && this.base.system.members === this.places.length;
    });
    return true;
  }

  async write(writes, size) {
    let [begun, ended, length] = [0, 0, 0];
    const { cpuMs } = await timed(async () => {
      begun = nowUs();
      for (let i = 0; i < writes.length; i += size) {
        const some = writes.slice(i, i + size).map(put);
        length = await this.base.append(size === 1 ? some[0] : some);
      }
      ended = nowUs();
    });
    return { begun_us: begun, ended_us: ended, length, cpu_ms: cpuMs };
  }

  /** Waits until the view has applied so much of each device's log. */
  async reach(lengths) {
    const hasAll = ({ key }, i) => (applied.get(key.toString("hex")) ?? 0) >= lengths[i];
    await this.until(() => this.places.every(hasAll));
    // What was applied is in the view once what goes on has come to its end.
    await this.base.update();
  }

  async read() {
    const { digest, entries } = await steady(async () => {
      const hash = createHash("sha256");
      let entries = 0;
      for await (const { key, value } of this.base.view.createReadStream()) {
        hash.update(key).update(value);
        entries += 1;
      }
      return { digest: hash.digest("hex"), entries };
    });
    const open = this.streams.reduce((sum, stream) => sum + stream.rawBytesWritten, 0);
    return { digest, entries, bytes_sent: this.sent + open };
  }

  async leave() {
    const streams = this.dialled;
    this.dialled = [];
    for (const stream of streams) {
      const closed = new Promise((resolve) => stream.once("close", resolve));
      stream.destroy();
      await closed;
    }
    return true;
  }

  async back(lengths) {
    const begun = nowUs();
    this.connect();
    await this.reach(lengths);
    return nowUs() - begun;
  }

  follow(order) {
    const { n, size } = this.task;
    if (order === "Write") return this.write(deviceWrites(this.number, n / this.task.device.devices), size);
    if (order === "WriteMissed") return this.write(missedWrites(n), size);
    if (order === "Leave") return this.leave();
    if (order === "Read") return this.read();
    if (order === "Join") return this.join();
    if (order.Admit) return this.admit(order.Admit);
    if (order.Await) return this.reach(order.Await).then(nowUs);
    if (order.Return) return this.back(order.Return);
    throw new Error(`there is no order ${JSON.stringify(order)}`);
  }
}

async function device(task) {
  const store = new Corestore(task.folder);
  const own = new Device(task, task.device.number, store);
  const port = await listen((stream) => own.attach(stream));
  const key = await Autobase.getLocalKey(store);
  print({ port, key: key.toString("hex"), version: version("autobase") });
  let isBusy = false;
  process.stdin.on("end", () => {
    // Whoever wants the answer is gone.
    if (isBusy) process.exit(1);
  });
  const { cpuMs } = await timed(async () => {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      isBusy = true;
      print(await own.follow(JSON.parse(line)));
      isBusy = false;
    }
  });
  await own.base.close();
  const { diskBytes, diskAllocated } = diskUse(task.folder);
  const rss = process.resourceUsage().maxRSS;
  print({ disk_bytes: diskBytes, disk_allocated: diskAllocated, rss_kib: rss, cpu_ms: cpuMs });
}

await run({ device });
