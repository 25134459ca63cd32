// Prints the runtime code of the one contract in FILE, which imports nothing,
// by the pinned compiler: for doubles that Go tests put on a chain.
//
// usage: node scripts/runtime.mjs FILE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename } from "node:path";

const solc = createRequire(import.meta.url)("solc");
const file = process.argv[2];
const name = basename(file, ".sol");
const settings = {
  evmVersion: "prague",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["evm.deployedBytecode.object"] } },
};
const sources = { [file]: { content: readFileSync(file, "utf8") } };
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
if (output.errors) {
  console.error(output.errors.map((e) => e.formattedMessage).join("\n"));
  process.exit(1);
}
console.log(output.contracts[file][name].evm.deployedBytecode.object);
