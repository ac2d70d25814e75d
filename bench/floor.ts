/**
 * The least that moving gzipped lines from S3 to HTTP costs in Node: GET, gunzip, cut at newlines, POST. No retries, no
 * ledger, no formats, whole objects in memory. What the streamer costs beyond this is what its promises cost.
 *
 *     node bench/floor.ts --endpoint URL --bucket NAME [--prefix P] --input URL [--input URL …] [--parallel 6]
 */
import { parseArgs, promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { Pool } from 'undici'

const batchBytes = 2 ** 20
const { values } = parseArgs({
  options: {
    endpoint: { type: 'string' },
    bucket: { type: 'string' },
    prefix: { type: 'string', default: '' },
    input: { type: 'string', multiple: true },
    /** Objects at once. */
    parallel: { type: 'string', default: '6' },
  },
})
const { endpoint, bucket, input: inputs = [] } = values
if (endpoint === undefined || bucket === undefined || inputs.length === 0) {
  throw new Error('cannot start: --endpoint, --bucket and --input are needed')
}
const parallel = Number(values.parallel)
const source = new Pool(endpoint, { connections: parallel })
const sinks = inputs.map((input) => {
  const url = new URL(input)
  return { pool: new Pool(url.origin, { connections: parallel }), path: url.pathname }
})
const inflate = promisify(gunzip)
const total = { objects: 0, lines: 0, bytes: 0 }
let turn = 0

async function* keys(): AsyncGenerator<string, void, undefined> {
  let token: string | undefined
  do {
    const query = new URLSearchParams({ 'list-type': '2', 'encoding-type': 'url', prefix: values.prefix })
    if (token !== undefined) query.set('continuation-token', token)
    const { body } = await source.request({ method: 'GET', path: `/${bucket}?${query}` })
    const page = await body.text()
    for (const [, key] of page.matchAll(/<Key>([^<]*)<\/Key>/g)) yield key as string
    token = /<NextContinuationToken>([^<]*)</.exec(page)?.[1]
  } while (token !== undefined)
}

async function move(key: string): Promise<void> {
  // The key is as the list has it, url-encoded; only its form of a space is not that of a path.
  const { body, statusCode } = await source.request({ method: 'GET', path: `/${bucket}/${key.replaceAll('+', '%20')}` })
  const packed = Buffer.from(await body.arrayBuffer())
  if (statusCode !== 200) throw new Error(`cannot read ${key}: ${statusCode}`)
  const text = packed[0] === 0x1f ? await inflate(packed, { chunkSize: 2 ** 22 }) : packed
  total.objects += 1
  total.bytes += text.length
  let start = 0
  let end = 0
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, end)) {
    if (at + 1 - start > batchBytes && end > start) {
      await post(text.subarray(start, end))
      start = end
    }
    total.lines += 1
    end = at + 1
  }
  if (end < text.length) total.lines += 1
  if (start < text.length) await post(text.subarray(start))
}

async function post(body: Buffer): Promise<void> {
  turn = (turn + 1) % sinks.length
  const { pool, path } = sinks[turn] as (typeof sinks)[number]
  const answer = await pool.request({ method: 'POST', path, headers: { 'content-type': 'application/x-ndjson' }, body })
  await answer.body.dump()
  if (answer.statusCode !== 200) throw new Error(`cannot post: ${answer.statusCode}`)
}

const started = performance.now()
const todo = keys()
await Promise.all(
  Array.from({ length: parallel }, async () => {
    for (let next = await todo.next(); !next.done; next = await todo.next()) await move(next.value)
  }),
)
const seconds = (performance.now() - started) / 1000
const { user, system } = process.cpuUsage()
const result = {
  ...total,
  seconds,
  cpuSeconds: (user + system) / 1e6,
  peakRssBytes: process.resourceUsage().maxRSS * 1024,
}
console.log(JSON.stringify(result))
await Promise.all([source.close(), ...sinks.map(({ pool }) => pool.close())])
