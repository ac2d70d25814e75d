/** What someone sends who has no token and means no good. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { openBed } from '../../test/fakes/console-bed.ts'
import type { Dependency } from '../core/component.ts'
import { Sparing } from './sparing.ts'

const live = 'GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Connections that have had an answer and are kept open. */
async function kept(port: number, number: number): Promise<Socket[]> {
  const sockets = Array.from({ length: number }, () => connect(port, '127.0.0.1'))
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on('error', () => socket.destroy())
      socket.write(live)
      const { promise, resolve } = Promise.withResolvers<void>()
      socket.once('close', resolve)
      socket.on('data', () => resolve())
      await promise
    }),
  )
  return sockets
}

test('a connection on which something else than HTTP came is closed, even if the other side keeps it open', async () => {
  await using bed = await openBed()
  for (const bytes of ['hello\r\n\r\n', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`]) {
    const socket = connect({ port: bed.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => socket.destroy())
    socket.write(bytes)
    socket.resume()
    await once(socket, 'end')
    // A socket of the server that is half closed would take this for ever; one that is closed says so.
    const more = setInterval(() => socket.write('x'), 5)
    await new Promise((resolve) => socket.once('close', resolve))
    clearInterval(more)
  }
})

test('whoever keeps many connections open without use does not keep others out', async () => {
  await using bed = await openBed()
  const sockets = await kept(bed.port, 200)
  for (let n = 0; n < 60; n += 1) assert.equal((await bed.ask('/live')).status, 200)
  for (const socket of sockets) socket.destroy()
})

test('one address has at most half of the connections', async () => {
  await using bed = await openBed({ health: { address: ':0' } })
  // Begun and never ended: these count as used.
  const sockets = Array.from({ length: 128 }, () => connect(bed.port, '127.0.0.2'))
  for (const socket of sockets) {
    socket.on('error', () => socket.destroy())
    socket.write('GET /live HTTP/1.1\r\n')
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const refused = connect(bed.port, '127.0.0.2')
  refused.on('error', () => refused.destroy())
  refused.resume()
  await new Promise((resolve) => refused.once('close', resolve))
  for (const socket of sockets) socket.destroy()
})

test('whoever sends requests and does not wait for their answers is let go before they fill the memory', async () => {
  await using bed = await openBed()
  const { promise: isOver, resolve: over } = Promise.withResolvers<void>()
  const dependency: Dependency = {
    ...{ name: 's3', state: 'unused', sinceMs: 0, error: undefined },
    probe: () => isOver,
  }
  bed.targets = [{ pipeline: 'web', dependency }]
  const socket = connect(bed.port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  socket.resume()
  socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1000))
  await new Promise((resolve) => socket.once('close', resolve))
  over()
  assert.ok(bed.operations.snapshots <= 10, `${bed.operations.snapshots} snapshots were made`)
  // A few are all right, and are answered in their order.
  const few = connect(bed.port, '127.0.0.1')
  let got = ''
  few.on('data', (piece) => {
    got += piece.toString()
  })
  few.write(live.repeat(4) + live.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  await once(few, 'close')
  assert.equal(got.split('HTTP/1.1 200 OK').length - 1, 5)
})

test('a long list of what encodings are taken costs no time', async () => {
  await using bed = await openBed()
  const help = 'x'.repeat(2000)
  bed.operations.meter.bind({ large: { kind: 'gauge', unit: '1', help } }, {}).large.set(1)
  const startMs = process.cpuUsage().user / 1000
  for (let n = 0; n < 5; n += 1) {
    const headers = { 'accept-encoding': `gzip;q=.${'1'.repeat(15_000)}x` }
    assert.equal((await bed.ask('/metrics', { headers })).headers['content-encoding'], undefined)
  }
  // A backtracking expression takes half a second for each.
  assert.ok(process.cpuUsage().user / 1000 - startMs < 1000)
  const encodingFor = async (accepted: string) =>
    (await bed.ask('/metrics', { headers: { 'accept-encoding': accepted } })).headers['content-encoding']
  for (const taken of ['gzip', 'br, GZIP ; Q=0.001', '*', 'gzip;q=1.000', 'deflate;q=1, gzip;q=.5'])
    assert.equal(await encodingFor(taken), 'gzip', taken)
  for (const refused of ['', 'br', 'gzip;q=0', 'gzip;q=0.000', 'x-gzip', 'gzip;q=no', '*;q=0'])
    assert.equal(await encodingFor(refused), undefined, refused)
})

test('what anybody may ask for is not made anew when it takes too much of the time', () => {
  let nowMs = 0
  let made = 0
  const costly = new Sparing(
    () => {
      nowMs += 20
      made += 1
      return made
    },
    () => nowMs,
  )
  // Now and then it is always the newest.
  for (let n = 1; n <= 10; n += 1) {
    nowMs += 1000
    assert.equal(costly.get(), n)
  }
  const startMs = nowMs
  const madeBefore = made
  while (nowMs - startMs < 10_000) {
    nowMs += 0.1
    costly.get()
  }
  const share = ((made - madeBefore) * 20) / (nowMs - startMs)
  assert.ok(share > 0.09 && share < 0.16, `it took ${share} of the time`)
})

test('a value that cannot be made is tried again', () => {
  let fails = true
  const value = new Sparing(() => {
    if (fails) throw new Error('not now')
    return 1
  })
  assert.throws(() => value.get(), /not now/)
  fails = false
  assert.equal(value.get(), 1)
})

test('the path of the health check may be one below /api', async () => {
  await using bed = await openBed({ health: { path: '/api/health' } })
  assert.equal((await bed.ask('/api/health')).status, 200)
  assert.equal((await bed.ask('/api/status')).status, 200)
})
