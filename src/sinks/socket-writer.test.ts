import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { createServer as createTlsServer, type TlsOptions as ServerTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { testContext } from '../../test/conformance/sink.ts'
import { StreamError } from '../core/errors.ts'
import { SocketWriter, type SocketWriterOptions } from './socket-writer.ts'
import { tlsOptions } from './tls.ts'

const live = { signal: new AbortController().signal }
const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
const pem = (name: string) => readFileSync(path(name))

class Receiver implements AsyncDisposable {
  readonly server: Server
  readonly port: number
  readonly sockets: Socket[] = []
  readonly chunks: Buffer[] = []

  constructor(server: Server) {
    this.server = server
    this.port = (server.address() as AddressInfo).port
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  /** Resolves when the text has come; the test's own time-out is the limit. */
  async until(text: string): Promise<void> {
    while (this.text !== text) await new Promise((resolve) => setImmediate(resolve))
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** `accept` does something with a new connection; without it, what comes is read and kept. */
async function receiver(
  o: { accept?: (socket: Socket) => void; tls?: ServerTls; port?: number } = {},
): Promise<Receiver> {
  const taken = (socket: Socket) => {
    started.sockets.push(socket)
    socket.on('error', () => undefined)
    if (o.accept) o.accept(socket)
    else socket.on('data', (chunk: Buffer) => started.chunks.push(chunk))
  }
  const server = o.tls ? createTlsServer(o.tls, taken) : createServer(taken)
  server.listen(o.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const started = new Receiver(server)
  return started
}

function writerTo(ports: number[], more: Partial<SocketWriterOptions> = {}, lines: string[] = []): SocketWriter {
  return new SocketWriter({
    nowMs: Date.now,
    endpoints: ports.map((port) => ({ host: '127.0.0.1', port })),
    tls: undefined,
    connectTimeoutMs: 5000,
    timeoutMs: 5000,
    log: testContext(lines).log,
    what: 'test',
    ...more,
  })
}

async function failureOf(promise: Promise<unknown>): Promise<StreamError> {
  const error = await promise.then(
    () => assert.fail('it was accepted'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof StreamError, String(error))
  return error
}

test('bytes arrive whole and in the order of the calls, over one connection', async () => {
  await using there = await receiver()
  await using writer = writerTo([there.port])
  const large = Buffer.alloc(1_000_000, 'x')
  await Promise.all([
    writer.write(Buffer.from('a'), live),
    writer.write([Buffer.from('b'), Buffer.from('c')], live),
    writer.write(large, live),
    writer.write(Buffer.from('d'), live),
  ])
  await there.until(`abc${large.toString()}d`)
  assert.equal(there.sockets.length, 1)
})

test('a connection that the peer closed, half-closed or reset meanwhile is replaced before the next write', async () => {
  for (const hurt of ['end', 'destroy', 'resetAndDestroy'] as const) {
    await using there = await receiver()
    await using writer = writerTo([there.port])
    await writer.write(Buffer.from('a'), live)
    await there.until('a')
    there.sockets[0]?.[hurt]()
    await writer.write(Buffer.from('b'), live)
    await there.until('ab')
    assert.equal(there.sockets.length, 2, hurt)
  }
})

test('a connection that breaks during a write fails it, and the next write has a new one', async () => {
  for (const hurt of ['end', 'resetAndDestroy'] as const) {
    await using there = await receiver({ accept: (socket) => socket.once('readable', () => socket[hurt]()) })
    await using writer = writerTo([there.port])
    const error = await failureOf(writer.write(Buffer.alloc(64_000_000), live))
    assert.equal(error.code, 'sink.unavailable')
    assert.match(error.message, new RegExp(`cannot write to test receiver tcp://127.0.0.1:${there.port}: `))
    await failureOf(writer.write(Buffer.alloc(64_000_000), live))
    assert.equal(there.sockets.length, 2)
  }
})

test('a receiver that stops reading is given up after the time-out', async () => {
  await using there = await receiver({ accept: (socket) => socket.pause() })
  await using writer = writerTo([there.port], { timeoutMs: 100 })
  const error = await failureOf(writer.write(Buffer.alloc(64_000_000), live))
  assert.equal(error.code, 'sink.unavailable')
  assert.match(error.message, /took no data within timeout \(0.1 s\)/)
})

test('a slow receiver that takes some data all the time is not given up', async () => {
  let bytes = 0
  const slowly = (socket: Socket) => {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    })
  }
  await using there = await receiver({ accept: slowly })
  await using writer = writerTo([there.port], { timeoutMs: 2000 })
  await writer.write(Buffer.alloc(16_000_000), live)
  while (bytes < 16_000_000) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(there.sockets.length, 1)
})

test('a receiver that accepts and closes at once, as a proxy without a server does, is never written to', async () => {
  await using there = await receiver({ accept: (socket) => socket.destroy() })
  await using writer = writerTo([there.port])
  for (let i = 0; i < 3; i += 1)
    assert.match((await failureOf(writer.write(Buffer.from('a'), live))).message, /cannot connect to test receiver/)
})

test('the next endpoint takes over from one that is dead, and stays', async () => {
  await using alive = await receiver()
  await using dead = await receiver()
  await dead.close()
  const lines: string[] = []
  await using writer = writerTo([dead.port, alive.port], {}, lines)
  await writer.write(Buffer.from('a'), live)
  await writer.write(Buffer.from('b'), live)
  await alive.until('ab')
  assert.equal(alive.sockets.length, 1)
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 1)
})

test('a receiver that does not read is not handed the buffers of one connection after the other', async () => {
  await using there = await receiver({ accept: (socket) => socket.pause() })
  await using writer = writerTo([there.port], { timeoutMs: 200 })
  const data = Buffer.alloc(1_000_000)
  let accepted = 0
  for (let failures = 0; failures < 5; )
    await writer.write(data, live).then(
      () => (accepted += 1),
      () => (failures += 1),
    )
  assert.equal(there.sockets.length, 2)
  // What was accepted is still on its way, and comes when the receiver reads again.
  let bytes = 0
  for (const socket of there.sockets) socket.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume()
  while (bytes < accepted * data.length) await new Promise((resolve) => setTimeout(resolve, 1))
  while (
    !(await writer.write(data, live).then(
      () => true,
      () => false,
    ))
  )
    await new Promise((r) => setTimeout(r, 1))
  assert.equal(there.sockets.length, 3)
})

test('an endpoint that takes connections but no data does not keep the others from being used', async () => {
  await using stuck = await receiver({ accept: (socket) => socket.pause() })
  await using alive = await receiver()
  await using writer = writerTo([stuck.port, alive.port], { timeoutMs: 500 })
  const data = Buffer.alloc(64_000_000, 'x')
  await failureOf(writer.write(data, live))
  await writer.write(data, live)
  while (alive.chunks.reduce((sum, chunk) => sum + chunk.length, 0) < data.length)
    await new Promise((resolve) => setImmediate(resolve))
})

test('when all endpoints fail, the error names them with the reasons, and a later write finds the one that came back', async () => {
  await using first = await receiver()
  await using second = await receiver()
  await first.close()
  await second.close()
  await using writer = writerTo([first.port, second.port])
  const error = await failureOf(writer.write(Buffer.from('a'), live))
  assert.match(error.message, /all 2 test endpoints fail/)
  assert.match(
    String((error.cause as AggregateError).errors[1]),
    new RegExp(`:${second.port}: .*ECONNREFUSED.*is the receiver running`),
  )
  await using back = await receiver({ port: second.port })
  await writer.write(Buffer.from('b'), live)
  await back.until('b')
})

test('an abort ends a write that is stuck, and one that waits for its turn', async () => {
  await using there = await receiver({ accept: (socket) => socket.pause() })
  await using writer = writerTo([there.port], { timeoutMs: 0 })
  const aborting = new AbortController()
  const writes = [0, 1].map(() => failureOf(writer.write(Buffer.alloc(64_000_000), { signal: aborting.signal })))
  while (there.sockets.length === 0) await new Promise((resolve) => setImmediate(resolve))
  aborting.abort(new Error('stop'))
  assert.deepEqual(
    (await Promise.all(writes)).map(({ code }) => code),
    ['run.aborted', 'run.aborted'],
  )
})

test('disposing sends what was written, ends a write that is stuck, and may be done twice', async () => {
  await using there = await receiver()
  const writer = writerTo([there.port])
  await writer.write(Buffer.from('last'), live)
  await writer[Symbol.asyncDispose]()
  await writer[Symbol.asyncDispose]()
  await there.until('last')
  await using deaf = await receiver({ accept: (socket) => socket.pause() })
  const stuck = writerTo([deaf.port], { timeoutMs: 0 })
  const writing = failureOf(stuck.write(Buffer.alloc(64_000_000), live))
  while (deaf.sockets.length === 0) await new Promise((resolve) => setImmediate(resolve))
  await stuck[Symbol.asyncDispose]()
  await writing
  await failureOf(stuck.write(Buffer.from('after'), live))
})

test('connect asks every endpoint, writes nothing, and says which one does not answer', async () => {
  await using alive = await receiver()
  await using dead = await receiver()
  await writerTo([alive.port]).connect(live)
  await dead.close()
  await using writer = writerTo([alive.port, dead.port])
  assert.match((await failureOf(writer.connect(live))).message, new RegExp(`tcp://127.0.0.1:${dead.port}`))
  assert.equal(alive.text, '')
})

test('TLS: the authority, the client certificate, and a server that refuses the client after the handshake', async () => {
  const tls = { ca: pem('ca.pem'), cert: pem('server.pem'), key: pem('server.key.pem') }
  await using strict = await receiver({ tls: { ...tls, requestCert: true, rejectUnauthorized: true } })
  await using plain = await receiver({ tls })
  const config = { insecure_skip_verify: false }
  const client = { ...config, ca_file: path('ca.pem'), cert_file: path('client.pem'), key_file: path('client.key.pem') }

  await using known = writerTo([strict.port], { tls: tlsOptions(client) })
  await known.connect(live)
  await known.write(Buffer.from('a'), live)
  await strict.until('a')
  // The name is checked too; "localhost" is sent as the server name.
  await using named = new SocketWriter({
    nowMs: Date.now,
    endpoints: [{ host: 'localhost', port: strict.port }],
    tls: tlsOptions(client),
    connectTimeoutMs: 5000,
    timeoutMs: 5000,
    log: testContext().log,
    what: 'test',
  })
  await named.write(Buffer.from('b'), live)
  await strict.until('ab')

  await using nameless = writerTo([strict.port], { tls: tlsOptions({ ...config, ca_file: client.ca_file }) })
  assert.match((await failureOf(nameless.connect(live))).message, /client certificate/)
  for (let i = 0; i < 3; i += 1) await failureOf(nameless.write(Buffer.from('lost?'), live))
  assert.equal(strict.text, 'ab')

  await using distrustful = writerTo([plain.port], { tls: tlsOptions(config) })
  assert.match((await failureOf(distrustful.write(Buffer.from('c'), live))).message, /certificate.*set tls.ca_file/)
  await using careless = writerTo([plain.port], { tls: tlsOptions({ insecure_skip_verify: true }) })
  await careless.write(Buffer.from('d'), live)
  await plain.until('d')

  await using wrong = await receiver({ accept: (socket) => socket.end('what?\n') })
  await using confused = writerTo([wrong.port], { tls: tlsOptions(client) })
  assert.match((await failureOf(confused.write(Buffer.from('e'), live))).message, /expect TLS on this port/)
})

test('a server that does not answer the TLS handshake is given up after connect_timeout', async () => {
  await using mute = await receiver({ accept: (socket) => socket.resume() })
  await using writer = writerTo([mute.port], { tls: tlsOptions({ insecure_skip_verify: true }), connectTimeoutMs: 100 })
  assert.match((await failureOf(writer.write(Buffer.from('a'), live))).message, /within connect_timeout \(0.1 s\)/)
})
