// What the programs of this folder share: cores, connections, output, and the end of the process.
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import RAM from "random-access-memory";
import Protomux from "protomux";
import SecretStream from "@hyperswarm/secret-stream";

const HOST = "127.0.0.1";

/** A mistake of the caller: exit code 2 instead of 1. */
export class UsageError extends Error {}

/**
 * Runs a program to its end. Whatever it throws becomes a line on standard error and an exit code
 * that isn't zero; temporary folders are gone in every case.
 */
export async function run(program) {
  let code = 0;
  try {
    await program();
  } catch (error) {
    const usage = error instanceof UsageError || error.code?.startsWith("ERR_PARSE_ARGS");
    process.stderr.write(`${path.basename(process.argv[1])}: ${usage ? error.message : error.stack}\n`);
    code = usage ? 2 : 1;
  }
  // A pipe takes its time, and what it hasn't taken by the end of the process is lost.
  process.stdout.write("", () => process.exit(code));
}

/** Options as `util.parseArgs` reads them, `--help` added. */
export function readArguments(help, options, allowPositionals = false) {
  const read = parseArgs({
    options: { ...options, help: { type: "boolean", short: "h", default: false } },
    allowPositionals,
  });
  if (read.values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  return read;
}

/** One JSON object, one line. */
export function print(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

/** A whole number that isn't negative, or a usage error that names the option. */
export function number(name, text) {
  if (!/^\d{1,9}$/.test(text ?? "")) throw new UsageError(`--${name} must be a whole number`);
  return Number(text);
}

/** Bytes from hex; `length` is their count where it is fixed. */
export function bytes(name, text, length) {
  const isHex = /^([0-9a-f]{2})*$/i.test(text ?? "x");
  if (!isHex || (length !== undefined && text.length !== 2 * length)) {
    throw new UsageError(`${name} must be ${length === undefined ? "" : `${length} bytes of `}hex`);
  }
  return Buffer.from(text, "hex");
}

export const hex = (buffer) => (buffer === null ? null : Buffer.from(buffer).toString("hex"));

/**
 * The Hypercore class of a major version. Loaded on demand: version 11 brings a native database
 * that a version 10 process has no use for.
 */
export async function hypercore(version) {
  const names = { 10: "hypercore-v10", 11: "hypercore" };
  if (!names[version]) throw new UsageError("--version must be 10 or 11");
  const { default: Hypercore } = await import(names[version]);
  return Hypercore;
}

/** Throw-away storage for one core. Version 11 has none in memory. */
export function scratchStorage(version) {
  return version === "10" ? () => new RAM() : scratchFolder();
}

/** Opens a throw-away core: with `keyPair` a writable one, with `key` somebody else's. */
export async function scratchCore(version, { key = null, keyPair = null }) {
  const Hypercore = await hypercore(version);
  const core = new Hypercore(scratchStorage(version), key, keyPair ? { keyPair } : {});
  await core.ready();
  return core;
}

/** A folder that goes when the process goes. */
export function scratchFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "multibee-interop-"));
  process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
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

/** Serves `core` to everybody who connects; resolves to the port. */
export function serve(core) {
  return listen((stream) => {
    // A reader that goes away is no concern of the server.
    stream.on("error", () => {});
    core.replicate(new Protomux(stream));
  });
}

/**
 * Connects `core` to a server. The function returned waits for a promise, but not longer than the
 * connection lasts.
 */
export function connect(core, port) {
  const stream = dial(port);
  core.replicate(new Protomux(stream));
  const lost = new Promise((_, reject) => {
    stream.once("error", (error) => reject(new Error(`connection failed: ${error.message}`)));
    stream.once("close", () => reject(new Error("the other side closed the connection")));
  });
  lost.catch(() => {});
  return (promise) => Promise.race([promise, lost]);
}

/** Resolves once the core is at least `length` blocks long. */
export function reached(core, length) {
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
