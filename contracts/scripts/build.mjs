// Compiles src/ with the pinned npm compiler and writes the artifacts that are
// committed: one JSON per contract (ABI, creation and runtime code) and a
// manifest of hashes. The same sources give the same bytes on every machine.
//
// usage: node scripts/build.mjs [DIRECTORY]   default: bindings/artifacts
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const solc = createRequire(import.meta.url)("solc");
const contracts = ["FaultVerifier", "PreconfServiceManager", "UrcInclusionSlasher"];
const settings = {
  evmVersion: "prague",
  optimizer: { enabled: true, runs: 10_000 },
  viaIR: true,
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const sources = {};
for (const name of readdirSync(join(root, "src")).sort()) {
  sources[`src/${name}`] = { content: readFileSync(join(root, "src", name), "utf8") };
}
const findImport = (path) => ({ contents: readFileSync(join(root, "node_modules", path), "utf8") });
const input = { language: "Solidity", sources, settings };
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
const faults = (output.errors ?? []).filter((e) => e.severity !== "info");
if (faults.length > 0) {
  console.error(faults.map((e) => e.formattedMessage).join("\n"));
  process.exit(1);
}

const out = process.argv[2] ?? join(root, "bindings", "artifacts");
mkdirSync(out, { recursive: true });
const manifest = { solc: solc.version(), settings, sources: {}, artifacts: {} };
delete manifest.settings.outputSelection;
for (const [path, { content }] of Object.entries(sources)) {
  manifest.sources[path] = sha256(content);
}
for (const name of contracts) {
  const c = output.contracts[`src/${name}.sol`][name];
  const text = JSON.stringify({ name, abi: c.abi, bytecode: `0x${c.evm.bytecode.object}`, runtime: `0x${c.evm.deployedBytecode.object}` }, null, 1);
  writeFileSync(join(out, `${name}.json`), `${text}\n`);
  manifest.artifacts[`${name}.json`] = sha256(`${text}\n`);
  console.log(`${name}: ${c.evm.deployedBytecode.object.length / 2} bytes`);
}
writeFileSync(join(out, "manifest.json"), `${JSON.stringify(manifest, null, 1)}\n`);
