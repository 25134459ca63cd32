#!/usr/bin/env node
// solc for forge: the npm compiler behind the two calls forge makes of a native
// one, `--version` and `--standard-json`. forge passes options solc-js does not
// know (paths it may read); every source is already in the JSON it sends.
import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");

/** print writes all of text: process.exit would cut a pipe short. */
function print(text) {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (e) {
      if (e.code !== "EAGAIN") throw e;
    }
  }
}

if (process.argv.includes("--version")) {
  print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace("Emscripten.clang", "Linux.g++")}\n`);
} else if (process.argv.includes("--standard-json")) {
  print(solc.compile(readFileSync(0, "utf8")));
} else {
  throw new Error(`solc.mjs knows --version and --standard-json, not ${process.argv.slice(2).join(" ")}`);
}
