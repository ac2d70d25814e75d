/** Another program on the port of the streamer that means no good. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { FakeOperations, pipelineSnapshot } from '../../test/fakes/operations.ts'
import { startTestbed } from '../../test/servers/testbed.ts'
import { isOfListener } from '../console/port-owner.ts'
import type { Snapshot } from '../console/snapshot.ts'
import { statusLines } from './status-view.ts'

async function impostor(answer: (response: ServerResponse) => void) {
  const server = createServer((_, response) => answer(response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

test('whatever answers for a streamer, status says that none runs, and does not read for ever', async () => {
  await using bed = await startTestbed()
  const megabyte = Buffer.alloc(1 << 20, ' ')
  const flood = (response: ServerResponse) => {
    const more = () => {
      while (!response.destroyed && response.write(megabyte)) {}
    }
    response.on('drain', more)
    more()
  }
  const answers: Array<(response: ServerResponse) => void> = [
    ...['null', '{}', '[]', '"x"', '{"pid":-1,"pipelines":[]}', '{"pid":1,"pipelines":null}'].map(
      (text) => (response: ServerResponse) => void response.end(text),
    ),
    flood,
  ]
  for (const answer of answers) {
    using other = await impostor(answer)
    bed.write(`health: { address: "127.0.0.1:${other.port}" }\n`)
    const { code, err } = await bed.run(['status'])
    assert.equal(code, 3, err)
  }
})

test('a terminal obeys nothing of what a snapshot says, wherever that stands', () => {
  const evil = '\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e'
  const plain = new FakeOperations().snapshot()
  const spoilt = (value: unknown): unknown => {
    if (typeof value === 'string') return evil
    if (Array.isArray(value)) return value.map(spoilt)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, spoilt(item)]))
  }
  const dependency = { of: 'sink', name: 'http', state: 'failing', sinceMs: 0, error: 'no' } as const
  const one = pipelineSnapshot('web', { error: 'x', dependencies: [dependency] })
  const evilCounts = { ...one.counts, read: evil as unknown as number }
  for (const pipelines of [[one], Array.from({ length: 6 }, () => one)]) {
    const snapshot = spoilt({ ...plain, pipelines }) as Snapshot
    const all = { ...snapshot, pipelines: snapshot.pipelines.map((each) => ({ ...each, counts: evilCounts })) }
    for (const color of [true, false]) {
      const text = statusLines(all, [], { isDetailed: true, color }).join('')
      const ours = color ? stripVTControlCharacters(text) : text
      assert.ok(!text.includes('\x1b]') && !text.includes('\x1b[2J'))
      assert.doesNotMatch(ours, /[\p{Cc}\u202e]/u)
    }
  }
})

test('a process is told nothing in the name of another user who listens on its port', async () => {
  using own = await impostor((response) => void response.end())
  assert.equal(isOfListener(process.pid, own.port), true)
  assert.equal(isOfListener(2 ** 22 + 1, own.port), process.platform !== 'linux')
  // Only root can be someone else.
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return
  const other = spawn('sleep', ['60'], { uid: 65_534 })
  try {
    await once(other, 'spawn')
    assert.equal(isOfListener(other.pid ?? 0, own.port), false)
  } finally {
    other.kill()
  }
})
