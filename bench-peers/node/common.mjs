// What the programs of this folder share: their task, connections, results, and the end of the process.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";

import SecretStream from "@hyperswarm/secret-stream";

import { checkGenerator, rounded } from "../../interop/workload.mjs";

export const HOST = "127.0.0.1";

/** One JSON object, one line. */
export function print(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

/** Runs what the argument `--task JSON` asks for, and ends the process. */
export async function run(jobs) {
  let code = 0;
  try {
    const [option, text] = process.argv.slice(2);
    if (option !== "--task") throw new Error("usage: --task JSON, as `cargo xtask bench` gives it");
    const task = JSON.parse(text);
    const job = jobs[task.job];
    if (job === undefined) throw new Error(`there is no job ${task.job}`);
    checkGenerator();
    await job(task);
  } catch (error) {
    process.stderr.write(`${path.basename(process.argv[1])}: ${error.stack}\n`);
    code = 1;
  }
  // A pipe takes its time, and what it hasn't taken by the end of the process is lost.
  process.stdout.write("", () => process.exit(code));
}

/** The version of a package that is installed. */
export function version(name) {
  const file = createRequire(import.meta.url).resolve(`${name}/package.json`);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

/** The line of one result, once the data is closed. */
export function record(task, peer, use, { workload, variant, durability, unit, ms, cpuMs, n, more }) {
  const count = n ?? task.n;
  return {
    peer,
    version: version(peer),
    workload,
    variant,
    durability,
    n: count,
    ms: rounded(ms),
    cpuMs: rounded(cpuMs),
    rate: rounded((count / ms) * 1000),
    // Below the resolution of the clock no rate can be told.
    cpuRate: cpuMs > 0 ? rounded((count / cpuMs) * 1000) : null,
    unit,
    peakRssKiB: process.resourceUsage().maxRSS,
    ...use,
    load1: os.loadavg()[0],
    run: task.run,
    quick: task.quick,
    ...more,
  };
}

/** Encrypts a socket. Who connected speaks first in the handshake. */
function encrypt(socket, isInitiator) {
  socket.setNoDelay(true);
  return new SecretStream(isInitiator, socket);
}

/** Hands `take` an encrypted stream for everybody who connects; resolves to the port. */
export function listen(take) {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => take(encrypt(socket, false)));
    server.once("error", reject);
    server.listen(0, HOST, () => resolve(server.address().port));
  });
}

/** An encrypted stream to a server. */
export function dial(port) {
  return encrypt(net.connect({ port, host: HOST }), true);
}

/** Resolves when the standard input is over. */
export function inputEnds() {
  return new Promise((resolve) => process.stdin.on("end", resolve).resume());
}
