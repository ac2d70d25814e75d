/**
 * What each decoder costs, beside the bare floor of gunzip and a newline scan, in this process and in one run:
 * `node bench/decoders.ts` prints a table in Markdown.
 */
import { createGunzip, gzipSync, zstdCompressSync } from 'node:zlib'
import { Slots } from '../src/core/slots.ts'
import { decode } from '../src/decoders/decode.ts'
import type { Format } from '../src/formats/format.ts'
import { formatOf, limits } from '../test/conformance/decoder.ts'

export interface DecoderCost {
  readonly name: string
  readonly cpuSecondsPerGb: number
  readonly mbPerSecond: number
}

const parallel = 4
const pieceBytes = 2 ** 20

const longLines = Array.from({ length: 6554 }, (_, i) =>
  JSON.stringify({
    sourcetype: 'zscalernss-web',
    event: {
      user: `user${i % 997}@example.com`,
      url: `www.example${i % 313}.com/path/${i}`,
      bytes: (i * 7919) % 100_000,
      pad: 'x'.repeat(1350),
    },
  }),
)
const shortLines = Array.from(
  { length: 100_000 },
  (_, i) => `short line number ${i} with some text in it, about a hundred bytes long or so, well ${i}`,
)
const rows = Array.from(
  { length: 60_000 },
  (_, i) =>
    `${i},"a ""q"" ${i}",2025-10-12T21:41:32Z,10.0.0.${i % 255},GET,/index/${i},200,${i * 7},"Mozilla/5.0 (Windows NT 10.0)",x`,
)
const text = (lines: readonly string[], end = '\n') => Buffer.from(`${lines.join(end)}${end}`)

async function cost(name: string, bytes: number, rounds: number, once: () => Promise<void>): Promise<DecoderCost> {
  await once()
  await once()
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  let left = rounds
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (left > 0) {
        left -= 1
        await once()
      }
    }),
  )
  const seconds = (performance.now() - startMs) / 1000
  const used = process.cpuUsage(cpu)
  const gb = (bytes * rounds) / 1e9
  return { name, cpuSecondsPerGb: (used.user + used.system) / 1e6 / gb, mbPerSecond: (gb * 1000) / seconds }
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

async function decodeWhole(stored: Buffer, partial: Partial<Format>): Promise<void> {
  const format = formatOf(partial)
  const decoding = await decode(() => pieces(stored), {
    key: 'k',
    formats: { list: [format], timeFromKey: () => undefined, select: () => ({ format, by: 'fixed' }) },
    limits,
    resume: undefined,
    slots: new Slots(parallel),
    signal: new AbortController().signal,
  })
  let records = 0
  for await (const block of decoding.blocks) records += block.ends.length
  if (records === 0) throw new Error('nothing was decoded')
}

async function scanWhole(gz: Buffer): Promise<void> {
  const gunzip = createGunzip({ chunkSize: 4 * 2 ** 20 })
  gunzip.end(gz)
  for await (const chunk of gunzip as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1));
  }
}

export async function decoderCosts(): Promise<DecoderCost[]> {
  const long = text(longLines)
  const gz = gzipSync(long)
  const short = text(shortLines)
  const wrapper = Buffer.from(`{"Records":[${longLines.join(',')}]}`)
  const costs = [await cost('floor: gunzip and newline scan', long.length, 60, () => scanWhole(gz))]
  const run = async (name: string, stored: Buffer, bytes: number, rounds: number, format: Partial<Format> = {}) =>
    void costs.push(await cost(name, bytes, rounds, () => decodeWhole(stored, format)))
  await run('lines, gzip', gz, long.length, 60)
  await run('lines, zstd', zstdCompressSync(long), long.length, 60)
  await run('lines of 1.5 KB, plain', long, long.length, 100)
  await run('lines of 90 B, plain', short, short.length, 100)
  await run('lines, CRLF, plain', text(longLines, '\r\n'), long.length, 60)
  await run('json, Records in one line, plain', wrapper, wrapper.length, 60)
  await run('csv with quotes, plain', text(rows), text(rows).length, 60, { decoder: 'csv' })
  await run('w3c, plain', short, short.length, 60, { decoder: 'w3c' })
  await run('multiline by start pattern, plain', short, short.length, 8, {
    multilineStart: '^short line number \\d*[02468] ',
  })
  return costs
}

export function decoderTable(costs: readonly DecoderCost[]): string {
  const floor = costs[0]?.cpuSecondsPerGb ?? Number.NaN
  const lines = costs.map(
    ({ name, cpuSecondsPerGb, mbPerSecond }) =>
      `| ${name} | ${cpuSecondsPerGb.toFixed(2)} | ${(cpuSecondsPerGb / floor).toFixed(2)} | ${Math.round(mbPerSecond)} |`,
  )
  return ['| decoder | CPU-s/GB | ratio to floor | MB/s |', '|---|---|---|---|', ...lines].join('\n')
}

if (import.meta.main) console.log(decoderTable(await decoderCosts()))
