import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { batchOf, testContext } from '../../test/conformance/sink.ts'
import { startGelf } from '../../test/servers/gelf.ts'
import { blockOf } from '../core/block.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { gelfConfig, gelfSink } from './gelf.ts'

const live = { signal: new AbortController().signal }
/** 64,000 bytes in 128 chunks. */
const small = { type: 'gelf', chunk_size: 512 } as const
const limit = 64_000

const noiseOf = (bytes: number) => randomBytes(bytes).toString('base64')
/** Values that compress to next to nothing, none longer than Graylog can index. */
const evenFields = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`field_${i}`, 'x'.repeat(30_000)]))

test('a message that is cut for its length, and again for its chunks, counts once', async () => {
  await using there = await startGelf({ kind: 'udp' })
  const meter = new MemoryMeter()
  const config = gelfConfig.parse({ ...small, endpoints: [there.url], max_message_bytes: '120KiB' })
  await using sink = gelfSink.create(config, { ...testContext(), meter })
  const noise = noiseOf(300_000)
  // Cut for both, for the length alone, for the chunks alone, for none.
  const records = [noise, 'x'.repeat(300_000), noise.slice(0, 100_000), 'whole']
  assert.equal(await sink.write(batchOf(blockOf(records)), live), undefined)
  await there.until(4)
  const counts = new Map(meter.snapshot().map(({ name, value }) => [name, value]))
  assert.equal(counts.get('gelf_truncated_total'), 3)
  assert.equal(counts.get('gelf_messages_sent_total'), 4)
})

test('a text is cut until it fits, however unlike the fields and the rest of it are in compressing', async () => {
  const noise = noiseOf(200_000)
  const cases = {
    'even fields, text of noise': { ...evenFields(15), message: noise },
    'fields of noise that nearly fill it, even text': {
      ...Object.fromEntries(
        Array.from({ length: 3 }, (_, i) => [`noise_${i}`, noise.slice(i * 26_000, (i + 1) * 26_000)]),
      ),
      message: `${noise.slice(100_000, 130_000)}${'x'.repeat(1_000_000)}`,
    },
    'noise, then even text': { message: `${noise.slice(0, 100_000)}${'x'.repeat(1_500_000)}` },
    'even text, then noise': { message: `${'x'.repeat(500_000)}${noise}` },
  }
  for (const [name, record] of Object.entries(cases))
    for (const compression of ['gzip', 'none'] as const) {
      await using there = await startGelf({ kind: 'udp' })
      const config = gelfConfig.parse({ ...small, endpoints: [there.url], compression })
      await using sink = gelfSink.create(config, testContext())
      const { message: text, ...fields } = record
      const refused = await sink.write(batchOf(blockOf([JSON.stringify(record)])), live)
      const isRefused = JSON.stringify(fields).length > limit && compression === 'none'
      assert.equal(refused?.size, isRefused ? 1 : undefined, `${name}, ${compression}`)
      if (isRefused) continue
      await there.until(1)
      const [message] = there.messages
      const short = String(message?.short_message)
      assert.ok(text.startsWith(short) && short.length < text.length)
      assert.ok(short.length > 2000, `${name}, ${compression}: ${short.length} characters`)
      for (const [field, value] of Object.entries(fields)) assert.equal(message?.[`_${field}`], value)
      // The text has at least half of the room that the fields leave.
      assert.ok(there.datagrams > 60 && there.datagrams <= 128, `${name}, ${compression}: ${there.datagrams} datagrams`)
      assert.deepEqual(there.violations, [])
    }
})
