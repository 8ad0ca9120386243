// Runs scripts of operations on Hyperbees on disk, and reads them back.
import readline from "node:readline";

import Hyperbee from "hyperbee";
import crypto from "hypercore-crypto";

import { UsageError, bytes, hex, hypercore, print, readArguments, run } from "./peer.mjs";

const HELP = `usage: bee-script.mjs

Reads a JSON object a line from standard input, and answers each with one. Bytes are hex. One bee is
open at a time, in a log of Hypercore 10:
  {"open":FOLDER,"create":bool,"seed":BYTES,"alwaysDuplicate":bool,"metadata":null or
   {"contentFeed":BYTES or null,"userData":BYTES or null}}
  {"steps":[STEP]}    a STEP is an operation, or {"batch":[operations],"close":bool}
  {"queries":[QUERY]}
  {"close":true}
An operation is one of
  {"put":KEY,"value":BYTES or null,"cas":CAS}  {"del":KEY,"cas":CAS}
  {"get":KEY}  {"range":BOUNDS}
where CAS, which may be left out, is what a condition says of the entry that is there: "yes", "no", or
"diff", which is yes if its value is another one than the new one.
A QUERY is {"get":KEY}, {"range":BOUNDS}, {"history":BOUNDS} or {"diff":BOUNDS,"left":VERSION}, each
with a "version" that is to be read. BOUNDS has "gt", "gte", "lt", "lte", "reverse", "limit"; those of
a history are numbers.

"open" and "steps" are answered with {"lengths":[LENGTH],"treeHash","reads":[RESULT]}: the log's length
after each step, and what the reads in it gave; "queries" with {"reads":[RESULT]}. A RESULT is a list,
of [SEQ,KEY,VALUE or null], for a history with "put" or "del" behind, for a diff of pairs of such
entries or null. Ends when standard input does.
`;

const Hypercore = await hypercore("10");

const optional = (name, text) => (text === null || text === undefined ? null : bytes(name, text));

const conditions = {
  yes: () => true,
  no: () => false,
  diff: (before, after) => hex(before.value) !== hex(after.value),
};

/** A range as Hyperbee has it. */
function range(bounds) {
  const { reverse, limit } = bounds;
  const found = { reverse, limit };
  for (const name of ["gt", "gte", "lt", "lte"]) {
    if (bounds[name] !== undefined) found[name] = bytes(name, bounds[name]);
  }
  return found;
}

const entry = (found) => (found ? [found.seq, hex(found.key), hex(found.value)] : null);

async function collect(stream, show) {
  const all = [];
  for await (const found of stream) all.push(show(found));
  return all;
}

/** Takes one operation on a bee or a batch. Returns what it read, if it reads. */
async function take(target, operation) {
  if (operation.put !== undefined) {
    const options = { cas: conditions[operation.cas] };
    await target.put(bytes("put", operation.put), optional("value", operation.value), options);
  } else if (operation.del !== undefined) {
    await target.del(bytes("del", operation.del), { cas: conditions[operation.cas] });
  } else if (operation.get !== undefined) {
    const found = await target.get(bytes("get", operation.get));
    return found ? [entry(found)] : [];
  } else if (operation.range !== undefined) {
    return await collect(target.createReadStream(range(operation.range)), entry);
  } else {
    throw new UsageError(`not an operation: ${JSON.stringify(operation)}`);
  }
  return null;
}

async function step(bee, { batch: operations, close, ...operation }, reads) {
  const keep = (read) => read && reads.push(read);
  if (operations === undefined) {
    keep(await take(bee, operation));
    return;
  }
  const batch = bee.batch();
  for (const one of operations) keep(await take(batch, one));
  if (close) await batch.close();
  else await batch.flush();
}

async function query(bee, { version, left, history, diff, ...operation }) {
  const view = bee.checkout(version);
  let read;
  if (history !== undefined) {
    read = await collect(view.createHistoryStream(history), (found) => [...entry(found), found.type]);
  } else if (diff !== undefined) {
    const other = bee.checkout(left);
    const stream = other.createDiffStream(view, range(diff));
    read = await collect(stream, (found) => [entry(found.left), entry(found.right)]);
    await other.close();
  } else {
    read = await take(view, operation);
  }
  await view.close();
  return read;
}

async function open({ open: folder, create, seed, alwaysDuplicate, metadata }) {
  const keyPair = crypto.keyPair(bytes("seed", seed, 32));
  const core = new Hypercore(folder, { createIfMissing: create, compat: false, keyPair });
  await core.ready();
  // Multibee keeps the secret key out of the log's own files.
  if (!core.writable) core.setKeyPair(keyPair);
  const given = metadata && {
    contentFeed: optional("contentFeed", metadata.contentFeed),
    userData: optional("userData", metadata.userData),
  };
  const options = { keyEncoding: "binary", valueEncoding: "binary", alwaysDuplicate };
  const bee = new Hyperbee(core, given ? { ...options, metadata: given } : options);
  await bee.ready();
  return bee;
}

await run(async () => {
  readArguments(HELP, {});
  let bee = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const [lengths, reads] = [[], []];
    if (order.open !== undefined) {
      if (bee) throw new UsageError("one bee at a time");
      bee = await open(order);
    } else if (!bee) {
      throw new UsageError("no bee is open");
    } else if (order.close !== undefined) {
      await bee.close();
      bee = null;
      print({});
      continue;
    } else if (order.queries !== undefined) {
      for (const one of order.queries) reads.push(await query(bee, one));
      print({ reads });
      continue;
    }
    for (const one of order.steps ?? []) {
      await step(bee, one, reads);
      lengths.push(bee.core.length);
    }
    print({ lengths, treeHash: hex(await bee.core.treeHash()), reads });
  }
});
