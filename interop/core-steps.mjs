// Does things to logs on disk with Hypercore 10, one step after the other.
import readline from "node:readline";

import crypto from "hypercore-crypto";

import { UsageError, bytes, hex, hypercore, print, readArguments, run } from "./peer.mjs";

const HELP = `usage: core-steps.mjs

Reads a JSON object a line from standard input, and answers each with one. Bytes are hex. One log is
open at a time:
  {"open":FOLDER,"create":bool,"compat":bool,"namespace":BYTES,"key":BYTES,"seed":BYTES}
             opens a log, or makes one if "create". With a namespace, its manifest has that instead
             of the default one. With "key" it is somebody else's. "seed" makes the key pair.
  {"append":[BYTES]}  {"truncate":LENGTH}  {"clear":[START,END]}  {"userData":[KEY,BYTES or null]}
  {"flush":true}      moves all to its place, so that no entry is left
  {"fetch":[FOLDER,[BLOCKS]]}  makes a copy in FOLDER that holds only those blocks
  {"close":true}
Each answer but to "fetch" and "close", {}, is what the log is then: {"key","manifest","length",
"byteLength","fork","treeHash","signature","writable","headerSecret","userData","blocks"}. A block
that isn't held is null, and one that can't be read {"error"}. "headerSecret" says whether the folder
holds the secret key where Hypercore keeps it; "writable" is from before the key pair was set.

Apart from the log that is open:
  {"judge":[FOLDERS]}  opens each and closes it; answers with as many such objects, or {"error"}
Ends when standard input does.
`;

const Hypercore = await hypercore("10");

async function readBlock(core, seq) {
  try {
    return hex(await core.get(seq, { wait: false }));
  } catch (error) {
    return { error: error.code ?? error.message };
  }
}

async function describe(core, writable) {
  const { header } = core.core;
  const blocks = [];
  for (let seq = 0; seq < core.length; seq++) blocks.push(await readBlock(core, seq));
  return {
    key: hex(core.key),
    length: core.length,
    byteLength: core.byteLength,
    fork: core.fork,
    treeHash: hex(await core.treeHash()),
    signature: hex(core.core.tree.signature),
    writable,
    headerSecret: Boolean(header.keyPair?.secretKey),
    userData: Object.fromEntries(header.userData.map(({ key, value }) => [key, hex(value)])),
    blocks,
  };
}

/** Opens a log; `writable` tells whether it was before it was given the key pair. */
async function open(step) {
  const keyPair = step.seed === undefined ? undefined : crypto.keyPair(bytes("seed", step.seed, 32));
  let manifest;
  if (step.namespace !== undefined) {
    const namespace = bytes("namespace", step.namespace, 32);
    manifest = { version: 1, signers: [{ signature: "ed25519", namespace, publicKey: keyPair.publicKey }] };
  }
  const key = step.key === undefined ? null : bytes("key", step.key, 32);
  const core = new Hypercore(step.open, key, {
    createIfMissing: step.create === true,
    compat: step.compat,
    keyPair,
    manifest,
  });
  await core.ready();
  const { writable } = core;
  // The option is for new logs only.
  if (keyPair && !writable) core.setKeyPair(keyPair);
  return { core, writable };
}

async function judge(folder) {
  let core;
  let verdict;
  try {
    core = new Hypercore(folder, { createIfMissing: false });
    await core.ready();
    verdict = await describe(core, core.writable);
  } catch (error) {
    verdict = { error: error.code ?? error.message };
  }
  // A read of more bytes than Node reads at once throws and is never done, and closing waits for it.
  const isStuck = verdict.blocks?.some((block) => block?.error === "ERR_OUT_OF_RANGE");
  const closing = core.close().catch(() => {});
  if (!isStuck) await closing;
  return verdict;
}

/** Copies some blocks over a connection within this process. */
async function fetch(core, folder, blocks) {
  const copy = new Hypercore(folder, core.key);
  await copy.ready();
  const [here, there] = [core.replicate(true), copy.replicate(false)];
  const closed = [here, there].map((stream) => new Promise((done) => stream.once("close", done)));
  here.pipe(there).pipe(here);
  await copy.update({ wait: true });
  for (const seq of blocks) await copy.get(seq);
  here.destroy();
  there.destroy();
  await Promise.all(closed);
  await copy.close();
}

async function change(core, step) {
  if (step.append !== undefined) {
    await core.append(step.append.map((block) => bytes("append", block)));
  } else if (step.truncate !== undefined) {
    await core.truncate(step.truncate);
  } else if (step.clear !== undefined) {
    await core.clear(...step.clear);
  } else if (step.userData !== undefined) {
    const [key, value] = step.userData;
    await core.setUserData(key, value === null ? null : bytes("userData", value));
  } else if (step.flush !== undefined) {
    await core.core.flush();
  } else {
    throw new UsageError(`not a step: ${JSON.stringify(step)}`);
  }
}

await run(async () => {
  readArguments(HELP, {});
  let opened = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const step = JSON.parse(line);
    if (step.judge !== undefined) {
      const verdicts = [];
      for (const folder of step.judge) verdicts.push(await judge(folder));
      print({ verdicts });
      continue;
    }
    if (step.open !== undefined) {
      if (opened) throw new UsageError("one log at a time");
      opened = await open(step);
    } else if (!opened) {
      throw new UsageError("no log is open");
    } else if (step.close !== undefined) {
      await opened.core.close();
      opened = null;
      print({});
      continue;
    } else if (step.fetch !== undefined) {
      await fetch(opened.core, ...step.fetch);
      print({});
      continue;
    } else {
      await change(opened.core, step);
    }
    print(await describe(opened.core, opened.writable));
  }
});
