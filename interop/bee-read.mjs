// Reads a Hyperbee that somebody serves over TCP.
import Hyperbee from "hyperbee";

import { UsageError, bytes, connect, hex, number, print, reached, readArguments, run, scratchCore } from "./peer.mjs";

const HELP = `usage: bee-read.mjs --port N --key HEX [options]

  --version 10|11    which Hypercore (default 11)
  --min-length N     wait until the log has this many blocks (default 1)
  --below-ff         leave out keys that begin with byte ff

  --all              download every block, then print every entry
  --get HEX          print one entry, fetching what that takes; may be given several times
  --gte HEX --lt HEX print the entries in between, fetching what that takes
  --hinted           at the end, wait for an answer of the extension, unless there was one
  --follow N         then print {"following",..} and entries as they change, until N were seen

Prints {"key","value","seq"} for an entry, {"key","missing":true} for none, {"key","deleted":true} for
a followed key that went, and at last {"length","blocks","hinted"}: how many blocks were downloaded,
and how many the server named in answers of Hyperbee's extension.
`;

function printEntry({ key, value, seq }) {
  print({ key: hex(key), value: hex(value), seq });
}

/** Counts the blocks that a server names. `first` resolves when it has named some. */
function countHints(bee) {
  const { extension } = bee;
  const hints = { count: 0 };
  hints.first = new Promise((resolve) => {
    const take = extension.oncache;
    extension.oncache = (message, from) => {
      hints.count += message.blocks.length;
      resolve();
      take.call(extension, message, from);
    };
  });
  return hints;
}

/** Bounds for a stream of entries. */
function bounds({ gte, lt, "below-ff": belowFf }) {
  const range = {};
  if (gte !== undefined) range.gte = bytes("--gte", gte);
  if (lt !== undefined) range.lt = bytes("--lt", lt);
  else if (belowFf) range.lt = Buffer.from([0xff]);
  return range;
}

async function printRange(bee, range) {
  for await (const found of bee.createReadStream(range)) printEntry(found);
}

async function printOne(bee, key) {
  const found = await bee.get(key);
  if (found) printEntry(found);
  else print({ key: hex(key), missing: true });
}

/** Prints what changes within `range`, until `count` changes were seen. */
async function follow(bee, range, count) {
  const watcher = bee.watch(range);
  await watcher.ready();
  print({ following: true, length: bee.core.length });
  for await (const [current, previous] of watcher) {
    for await (const { left, right } of current.createDiffStream(previous.version, range)) {
      if (left) printEntry(left);
      else print({ key: hex(right.key), deleted: true });
      count -= 1;
    }
    if (count <= 0) break;
  }
  await watcher.close();
}

await run(async () => {
  const { values: given } = readArguments(HELP, {
    version: { type: "string", default: "11" },
    port: { type: "string" },
    key: { type: "string" },
    "min-length": { type: "string", default: "1" },
    "below-ff": { type: "boolean", default: false },
    all: { type: "boolean", default: false },
    get: { type: "string", multiple: true, default: [] },
    gte: { type: "string" },
    lt: { type: "string" },
    hinted: { type: "boolean", default: false },
    follow: { type: "string", default: "0" },
  });
  const port = number("port", given.port);
  const range = bounds(given);
  const isRange = given.gte !== undefined || given.lt !== undefined;
  if (given.all && isRange) throw new UsageError("--all and a range exclude each other");
  const keys = given.get.map((text) => bytes("--get", text));
  const count = number("follow", given.follow);

  const core = await scratchCore(given.version, { key: bytes("--key", given.key, 32) });
  let blocks = 0;
  core.on("download", () => (blocks += 1));
  const whileConnected = connect(core, port);
  await whileConnected(reached(core, number("min-length", given["min-length"])));

  const bee = new Hyperbee(core, { keyEncoding: "binary", valueEncoding: "binary" });
  await whileConnected(bee.ready());
  const hints = countHints(bee);
  if (given.all) await whileConnected(core.download({ start: 0, end: core.length }).done());
  for (const key of keys) await whileConnected(printOne(bee, key));
  if (given.all || isRange) await whileConnected(printRange(bee, range));
  if (count > 0) await whileConnected(follow(bee, range, count));
  if (given.hinted) await whileConnected(hints.first);
  print({ length: core.length, blocks, hinted: hints.count });
});
