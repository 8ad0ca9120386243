// Writes a Hyperbee and serves it over TCP.
import readline from "node:readline";

import Hyperbee from "hyperbee";
import crypto from "hypercore-crypto";

import { UsageError, bytes, number, print, readArguments, run, scratchCore, serve } from "./peer.mjs";

const HELP = `usage: bee-serve.mjs [options]

  --version 10|11   which Hypercore (default 11)
  --count N         begin with N entries, "key/000000" = "value 0" and so on, in one batch
  --seed HEX        32 bytes to make the key pair from (default: 07 07 07 ...)

Prints {"port","key","length"}, then reads a JSON object a line from standard input and answers each
with {"length"} once it is written. Bytes are hex:
  {"put":KEY,"value":VALUE}  {"del":KEY}  {"batch":[such objects]}
Ends when standard input does.
`;

/** The entries of --count, the same in every run. */
function entry(index) {
  return [`key/${String(index).padStart(6, "0")}`, `value ${index}`].map((text) => Buffer.from(text));
}

/** Applies one operation to a bee or to a batch. */
async function apply(target, operation) {
  if (operation.put !== undefined) {
    const value = operation.value === null ? null : bytes("value", operation.value);
    await target.put(bytes("put", operation.put), value);
  } else if (operation.del !== undefined) {
    await target.del(bytes("del", operation.del));
  } else if (Array.isArray(operation.batch)) {
    const batch = target.batch();
    for (const part of operation.batch) await apply(batch, part);
    await batch.flush();
  } else {
    throw new UsageError(`not an operation: ${JSON.stringify(operation)}`);
  }
}

await run(async () => {
  const { values: given } = readArguments(HELP, {
    version: { type: "string", default: "11" },
    count: { type: "string", default: "0" },
    seed: { type: "string", default: "07".repeat(32) },
  });
  const count = number("count", given.count);
  const keyPair = crypto.keyPair(bytes("--seed", given.seed, 32));
  const core = await scratchCore(given.version, { keyPair });
  const bee = new Hyperbee(core, { keyEncoding: "binary", valueEncoding: "binary" });
  await bee.ready();
  const batch = bee.batch();
  for (let index = 0; index < count; index++) await batch.put(...entry(index));
  await batch.flush();

  const port = await serve(core);
  print({ port, key: core.key.toString("hex"), length: core.length });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    await apply(bee, JSON.parse(line));
    print({ length: core.length });
  }
  await core.close();
});
