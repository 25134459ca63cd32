// viem v2 with its defaults: a transaction and its receipt, then one by
// eth_sendRawTransactionSync. Arguments: URL, private key, recipient.
import { BaseError, NonceTooLowError, createPublicClient, createWalletClient, defineChain, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

const [url, key, to] = process.argv.slice(2)
const id = Number(await createPublicClient({ transport: http(url) }).getChainId())
const chain = defineChain({
  id, name: 'simnet', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 }, rpcUrls: { default: { http: [url] } },
})
const account = privateKeyToAccount(key)
const reader = createPublicClient({ chain, transport: http() })
const wallet = createWalletClient({ account, chain, transport: http() })
const pending = () => reader.getTransactionCount({ address: account.address, blockTag: 'pending' })

const before = await pending()
const hash = await wallet.sendTransaction({ to, value: 1n })
const between = await pending()
const seen = await reader.getTransaction({ hash })
const commitment = await reader.request({ method: 'preconf_getCommitment', params: [hash] })
const receipt = await reader.waitForTransactionReceipt({ hash })
const synced = await wallet.sendTransactionSync({ to, value: 2n, timeout: 30_000 })

let refused = ''
try {
  await wallet.sendTransaction({ to, value: 3n, nonce: before })
} catch (e) {
  refused = e instanceof BaseError && e.walk((x) => x instanceof NonceTooLowError) ? 'nonce too low' : String(e)
}
console.log(JSON.stringify({
  hash, before, between, seenBlock: seen.blockNumber, slot: commitment.slot,
  block: Number(receipt.blockNumber), status: receipt.status === 'success' ? 1 : 0,
  second: synced.transactionHash, secondBlock: Number(synced.blockNumber), refused,
}))
