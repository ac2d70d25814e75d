import assert from 'node:assert/strict'
import dgram, { type Socket } from 'node:dgram'
import dns from 'node:dns/promises'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { mock, type TestContext, test } from 'node:test'
import { batchOf, testContext } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import type { Sink } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { DatagramWriter, type DatagramWriterOptions } from './datagram-writer.ts'
import { gelfConfig, gelfSink } from './gelf.ts'
import { syslogSink } from './syslog.ts'
import { syslogConfig } from './syslog-config.ts'

const live = { signal: new AbortController().signal }
const { createSocket } = dgram
/** The sockets that were opened to send, the last one last. On this machine a refusal is never late: they are told of it here. */
const opened: Socket[] = []
mock.method(dgram, 'createSocket', (type: 'udp4' | 'udp6') => {
  const socket = createSocket(type)
  opened.push(socket)
  return socket
})
syncBuiltinESMExports()

const lastOpened = (): Socket => opened.at(-1) ?? assert.fail('no socket was opened')
const refusal = () => Object.assign(new Error('recvmsg ECONNREFUSED'), { code: 'ECONNREFUSED' })

/** Looks names up as it is told, to the end of the test. */
function lookupAs(t: TestContext, found: (host: string) => Promise<{ address: string; family: number }>): void {
  const mocked = mock.method(dns, 'lookup', found)
  syncBuiltinESMExports()
  t.after(() => {
    mocked.mock.restore()
    syncBuiltinESMExports()
  })
}

class Receiver implements AsyncDisposable {
  readonly texts: string[] = []
  readonly socket = createSocket('udp4')

  static async start(): Promise<Receiver> {
    const receiver = new Receiver()
    receiver.socket.on('message', (bytes) => receiver.texts.push(bytes.toString()))
    receiver.socket.bind(0, '127.0.0.1')
    await once(receiver.socket, 'listening')
    return receiver
  }

  get port(): number {
    return this.socket.address().port
  }

  /** Resolves when all of it has come; the test's own time-out is the limit. */
  async until(...texts: string[]): Promise<void> {
    while (this.texts.length < texts.length) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(this.texts, texts)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.socket.close(() => resolve()))
  }
}

/** A port where nobody listens. */
async function deadPort(): Promise<number> {
  await using receiver = await Receiver.start()
  return receiver.port
}

const tooLong = { code: 'sink.unavailable', advice: 'make it smaller' } as const

function writerTo(ports: number[], more: Partial<DatagramWriterOptions> = {}, lines: string[] = []): DatagramWriter {
  return new DatagramWriter({
    nowMs: Date.now,
    endpoints: ports.map((port) => ({ host: '127.0.0.1', port })),
    connectTimeoutMs: 5000,
    log: testContext(lines).log,
    what: 'gelf',
    tooLong,
    ...more,
  })
}

/** Writes one datagram as a batch; it is refused `lateMs` after it was sent, if that is given. */
async function write(writer: DatagramWriter, text: string, lateMs?: number): Promise<string> {
  const send = async (socket: { send(datagram: Buffer): void }) => {
    socket.send(Buffer.from(text))
    const opened = lastOpened()
    if (lateMs !== undefined) setTimeout(() => opened.emit('error', refusal()), lateMs)
    return text
  }
  return await writer.write(send, live)
}

async function failureOf(promise: Promise<unknown>): Promise<StreamError> {
  const error = await promise.then(
    () => assert.fail('it was accepted'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof StreamError, String(error))
  return error
}

const sinks: Record<string, (port: number) => Sink> = {
  gelf: (port) =>
    gelfSink.create(gelfConfig.parse({ type: 'gelf', endpoints: [`udp://127.0.0.1:${port}`] }), testContext()),
  syslog: (port) =>
    syslogSink.create(syslogConfig.parse({ type: 'syslog', endpoints: [`udp://127.0.0.1:${port}`] }), testContext()),
}
for (const [name, sinkTo] of Object.entries(sinks))
  test(`${name}: a refusal that comes 3 ms late on a proven socket fails its batch`, async () => {
    await using there = await Receiver.start()
    await using sink = sinkTo(there.port)
    const batch = batchOf(blockOf(['a']))
    await sink.write(batch, live)
    const socket = lastOpened()
    mock.method(socket, 'send', (_datagram: Buffer, done: (error: Error | null) => void) => {
      process.nextTick(done, null)
      setTimeout(() => socket.emit('error', refusal()), 3)
    })
    const error = await failureOf(sink.write(batch, live))
    assert.equal(error.code, 'sink.unavailable')
    assert.match(
      error.message,
      new RegExp(`cannot send to ${name} receiver udp://127.0.0.1:${there.port}: .*ECONNREFUSED`),
    )
    await sink.write(batch, live)
  })

test('the first batch on a new socket waits longer for its refusal, one after a refusal longest', async () => {
  await using there = await Receiver.start()
  const lines: string[] = []
  await using writer = writerTo([there.port], {}, lines)
  assert.equal((await failureOf(write(writer, 'a', 60))).code, 'sink.unavailable')
  assert.equal((await failureOf(write(writer, 'b', 250))).code, 'sink.unavailable')
  assert.equal(await write(writer, 'c'), 'c')
  await there.until('a', 'b', 'c')
  assert.deepEqual(
    lines.map((line) => line.split(' {')[0]),
    ['warn gelf endpoint fails; its records wait or go to the others', 'info gelf endpoint works again'],
  )
})

test('a refusal that comes after its batch is warned of, and fails the next write before it is sent', async () => {
  await using there = await Receiver.start()
  const lines: string[] = []
  await using writer = writerTo([there.port], { what: 'syslog' }, lines)
  const warnings = () => lines.filter((line) => /^warn .*already handed over; what it missed is lost/.test(line))
  await write(writer, 'a')
  lastOpened().emit('error', refusal())
  assert.equal(warnings().length, 1)
  const error = await failureOf(writer.write(async () => assert.fail('it was sent'), live))
  assert.equal(error.code, 'sink.unavailable')
  assert.match(error.message, /ECONNREFUSED \(is the receiver running/)
  await write(writer, 'c')
  lastOpened().emit('error', refusal())
  await failureOf(write(writer, 'd'))
  await write(writer, 'e')
  await there.until('a', 'c', 'e')
  assert.equal(warnings().length, 1, 'warned of again within a minute')
})

test('a failed endpoint is warned of once; the same write goes to the next one, and so do those after it', async () => {
  await using there = await Receiver.start()
  await using first = await Receiver.start()
  const dead = await deadPort()
  const lines: string[] = []
  await using writer = writerTo([dead, first.port, there.port], {}, lines)
  await write(writer, 'a')
  await write(writer, 'b')
  await first.until('a', 'b')
  lastOpened().emit('error', refusal())
  await write(writer, 'c')
  await write(writer, 'd')
  await there.until('c', 'd')
  const fails = lines.filter((line) => line.includes('endpoint fails'))
  assert.equal(fails.length, 2)
  assert.match(fails[0] ?? '', new RegExp(`udp://127.0.0.1:${dead}"`))
  assert.match(fails[1] ?? '', new RegExp(`udp://127.0.0.1:${first.port}"`))
})

test('when all fail, all are named', async () => {
  const ports = [await deadPort(), await deadPort()]
  await using writer = writerTo(ports)
  const error = await failureOf(write(writer, 'a'))
  assert.equal(error.code, 'sink.unavailable')
  assert.match(error.message, /all 2 gelf endpoints fail/)
  for (const port of ports) assert.match(explainError(error), new RegExp(`udp://127.0.0.1:${port}`))
})

test('a lookup that hangs ends at connect_timeout, and the next endpoint takes over', async (t) => {
  await using there = await Receiver.start()
  lookupAs(t, async (host) => (host === 'hangs' ? await new Promise(() => {}) : { address: host, family: 4 }))
  const config = gelfConfig.parse({ type: 'gelf', endpoints: ['udp://hangs'], connect_timeout: '50ms' })
  await using sink = gelfSink.create(config, testContext())
  for (const outcome of [sink.check(live), sink.write(batchOf(blockOf(['a'])), live)]) {
    const error = await failureOf(outcome)
    assert.equal(error.code, 'sink.unavailable')
    assert.match(error.message, /cannot reach udp:\/\/hangs:12201: not resolved within connect_timeout \(0\.05 s\)/)
  }
  const endpoints = ['hangs', '127.0.0.1'].map((host) => ({ host, port: there.port }))
  await using writer = writerTo([], { endpoints, connectTimeoutMs: 50 })
  await write(writer, 'a')
  await there.until('a')
})

test('a name is looked up again after a minute; a refusal that came before that is not forgotten', async (t) => {
  await using there = await Receiver.start()
  let lookups = 0
  lookupAs(t, async () => {
    lookups += 1
    return { address: '127.0.0.1', family: 4 }
  })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  await using writer = writerTo([], { endpoints: [{ host: 'moves', port: there.port }] })
  await write(writer, 'a')
  t.mock.timers.tick(59_000)
  await write(writer, 'b')
  assert.equal(lookups, 1)
  t.mock.timers.tick(1000)
  await write(writer, 'c')
  assert.equal(lookups, 2)
  lastOpened().emit('error', refusal())
  t.mock.timers.tick(60_000)
  assert.match((await failureOf(write(writer, 'd'))).message, /ECONNREFUSED/)
  await there.until('a', 'b', 'c')
})

test('an endpoint without an address or a way to it is named: by check, and by a write', async (t) => {
  lookupAs(t, async (host) => {
    if (host.startsWith('2')) return { address: '255.255.255.255', family: 4 }
    throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' })
  })
  for (const [host, message] of [
    ['nowhere', /cannot reach udp:\/\/nowhere:7000: .*ENOTFOUND.* \(check the name and the network\)/],
    // The kernel connects to no broadcast address.
    ['2001:db8::1', /cannot reach udp:\/\/\[2001:db8::1\]:7000: .*EACCES/],
  ] as const) {
    await using writer = writerTo([], { endpoints: [{ host, port: 7000 }] })
    for (const outcome of [writer.check(live), write(writer, 'a')]) {
      const error = await failureOf(outcome)
      assert.equal(error.code, 'sink.unavailable')
      assert.match(error.message, message)
    }
  }
  const endpoints = ['nowhere', 'neither'].map((host) => ({ host, port: 7000 }))
  await using writer = writerTo([], { endpoints })
  assert.match(explainError(await failureOf(writer.check(live))), /all 2 gelf endpoints fail.*nowhere.*neither/)
})

test('a datagram that is too long: a smaller batch may help, or the endpoint fails', async () => {
  await using there = await Receiver.start()
  const text = 'x'.repeat(70_000)
  await using failing = writerTo([there.port])
  const failure = await failureOf(write(failing, text))
  assert.equal(failure.code, 'sink.unavailable')
  assert.match(failure.message, /EMSGSIZE \(make it smaller\)/)
  const lines: string[] = []
  const smaller = { code: 'sink.too_large', advice: 'lower it' } as const
  await using splitting = writerTo([there.port], { what: 'syslog', tooLong: smaller }, lines)
  const error = await failureOf(write(splitting, text))
  assert.equal(error.code, 'sink.too_large')
  assert.match(error.message, /cannot send to syslog receiver .*EMSGSIZE \(lower it\)/)
  assert.deepEqual(lines, [])
  await write(splitting, 'a')
  await there.until('a')
})

test('batches go one after the other, with what each of them gave', async () => {
  await using there = await Receiver.start()
  await using writer = writerTo([there.port])
  const texts = Array.from({ length: 10 }, (_, i) => `r${i}`)
  assert.deepEqual(await Promise.all(texts.map((text) => write(writer, text))), texts)
  await there.until(...texts)
})

test('a stop ends a write, one that waits for its turn and one that waits for a refusal; so does disposing', async () => {
  await using there = await Receiver.start()
  const writer = writerTo([there.port])
  const aborting = new AbortController()
  const writes = ['a', 'b'].map((text) =>
    writer.write(async (socket) => {
      socket.send(Buffer.from(text))
      setImmediate(() => aborting.abort(new Error('stop')))
    }, aborting),
  )
  for (const { code } of await Promise.all(writes.map(failureOf))) assert.equal(code, 'run.aborted')
  const hanging = writer.write(async (socket) => {
    socket.send(Buffer.from('c'))
    setImmediate(() => void writer[Symbol.asyncDispose]())
  }, live)
  assert.equal((await failureOf(hanging)).code, 'run.aborted')
  assert.equal((await failureOf(write(writer, 'd'))).code, 'run.aborted')
  await there.until('a', 'c')
})
