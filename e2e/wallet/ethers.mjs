// ethers v6 with its defaults: two transactions in a row, and their receipts.
// Arguments: URL, private key, recipient. Prints one line of JSON.
import { JsonRpcProvider, Wallet } from 'ethers'

const [url, key, to] = process.argv.slice(2)
const provider = new JsonRpcProvider(url)
const wallet = new Wallet(key, provider)
// Not provider.getTransactionCount: ethers remembers its answers for a quarter of a second.
const pending = async () => Number(await provider.send('eth_getTransactionCount', [wallet.address, 'pending']))

const before = await pending()
const first = await wallet.sendTransaction({ to, value: 1n })
const between = await pending()
const seen = await provider.getTransaction(first.hash)
const early = await provider.getTransactionReceipt(first.hash)
const commitment = await provider.send('preconf_getCommitment', [first.hash])
const receipt = await first.wait()

// The nonce of the second follows the first, which is in a block by now.
const second = await wallet.sendTransaction({ to, value: 2n })
const after = await pending()
const last = await second.wait()

let refused = {}
try {
  await provider.broadcastTransaction(await wallet.signTransaction(await wallet.populateTransaction({ to, value: 3n, nonce: before })))
} catch (e) {
  refused = { code: e.code, reason: (e.info?.error ?? e.error)?.data?.reason }
}
console.log(JSON.stringify({
  hash: first.hash, before, between, after, seenBlock: seen.blockNumber, seenFrom: seen.from, early, slot: commitment.slot,
  block: receipt.blockNumber, status: receipt.status, second: second.hash, secondBlock: last.blockNumber, refused,
}))
provider.destroy()
