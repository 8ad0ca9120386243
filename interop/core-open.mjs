// Opens a log in the folder layout of Hypercore 10, reads all of it, and may append to it.
import crypto from "hypercore-crypto";

import { UsageError, bytes, hex, hypercore, number, print, readArguments, run } from "./peer.mjs";

const HELP = `usage: core-open.mjs FOLDER [options]

  --create       make a new log; without it, a folder that holds none is an error
  --compat       with --create: the key of the log is its public key
  --append N     append N blocks, "block 7" if that is its place, in one batch
  --seed HEX     32 bytes to make the key pair from, to create or append (default: 07 07 07 ...)

Prints {"key","length","byteLength","fork","treeHash","writable","blocks"}; bytes are hex, and a block
that the folder doesn't hold is null. "writable" says whether the folder holds the secret key where
Hypercore keeps it.
`;

await run(async () => {
  const { values: given, positionals } = readArguments(HELP, {
    create: { type: "boolean", default: false },
    compat: { type: "boolean", default: false },
    append: { type: "string", default: "0" },
    seed: { type: "string", default: "07".repeat(32) },
  }, true);
  if (positionals.length !== 1) throw new UsageError("one folder, please; see --help");
  const count = number("append", given.append);
  const keyPair = given.create || count > 0 ? crypto.keyPair(bytes("--seed", given.seed, 32)) : undefined;

  const Hypercore = await hypercore("10");
  const core = new Hypercore(positionals[0], {
    createIfMissing: given.create,
    compat: given.compat,
    keyPair,
  });
  await core.ready();
  const { writable } = core;
  if (count > 0) {
    // Multibee keeps the secret key out of the log's own files.
    if (!writable) core.setKeyPair(keyPair);
    const first = core.length;
    await core.append(Array.from({ length: count }, (_, i) => Buffer.from(`block ${first + i}`)));
  }
  const blocks = [];
  for (let seq = 0; seq < core.length; seq++) blocks.push(hex(await core.get(seq, { wait: false })));
  print({
    key: hex(core.key),
    length: core.length,
    byteLength: core.byteLength,
    fork: core.fork,
    treeHash: hex(await core.treeHash()),
    writable,
    blocks,
  });
  await core.close();
});
