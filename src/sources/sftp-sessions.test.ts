import assert from 'node:assert/strict'
import { test } from 'node:test'
import { virtualBytes } from '../../test/servers/sftp-bytes.ts'
import { SftpBed } from '../../test/servers/sftp-store-bed.ts'
import type { OpenFile } from './file-store.ts'

const bytes = virtualBytes()
const size = 20_000_000

/** Reads at several places at the same time. */
async function readBusily(file: OpenFile, o: { signal: AbortSignal }): Promise<void> {
  await Promise.all(
    [0, 5_000_000, 10_000_000, 15_000_000].map(async (from) => {
      const into = Buffer.alloc(5_000_000)
      assert.equal(await file.read(from, into, o), into.length)
      assert.ok(into.equals(bytes(from, from + into.length)))
    }),
  )
}

async function startBed(...[o]: Parameters<typeof SftpBed.start>): Promise<SftpBed> {
  const bed = await SftpBed.start(o)
  bed.server.putVirtual('/in/a', size, bytes)
  return bed
}

test('nothing is connected before something is asked for', async () => {
  await using bed = await startBed()
  const store = bed.store()
  assert.equal(store.connections, 0)
  await store[Symbol.asyncDispose]()
  assert.equal(bed.server.counters.connections, 0)
})

test('many questions at once make one connection, and as many as are allowed when there is much to do', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 3 })
  for (let i = 0; i < 3; i += 1) await store.stat('/in/a', bed.o)
  assert.equal(store.connections, 1)
  await using file = await store.open('/in/a', bed.o)
  bed.server.switches.latencyMs = 5
  while (store.connections < 3) await readBusily(file, bed.o)
  await readBusily(file, bed.o)
  assert.equal(bed.server.counters.connections, 3)
  await store[Symbol.asyncDispose]()
  await bed.until(() => bed.server.counters.connectionsOpen === 0)
})

test('a server that takes fewer connections gets fewer, and the work goes on', async () => {
  await using bed = await startBed({ switches: { maxConnections: 1 } })
  const store = bed.store({ sessions: 3 })
  await using file = await store.open('/in/a', bed.o)
  bed.server.switches.latencyMs = 5
  while (bed.logged('no further connection').length === 0) await readBusily(file, bed.o)
  await readBusily(file, bed.o)
  assert.equal(store.connections, 1)
  assert.equal(bed.server.counters.connections, 2)
  assert.equal(bed.logged('no further connection').length, 1)
})

test('a server that was away is asked again until it is back', async () => {
  await using bed = await startBed()
  const store = bed.store()
  await store.stat('/in/a', bed.o)
  bed.server.switches.refuseConnections = true
  bed.server.dropAll()
  const { connections } = bed.server.counters
  const asked = store.stat('/in/a', bed.o)
  await bed.until(() => bed.server.counters.connections > connections)
  bed.server.switches.refuseConnections = false
  assert.equal((await asked)?.size, size)
})

test('a server that stays away is given up, with advice', async () => {
  await using bed = await startBed()
  await bed.server.stop()
  await assert.rejects(bed.store().stat('/in/a', bed.o), {
    code: 'source.unavailable',
    message: /^cannot connect to sftp:\/\/acme@127\.0\.0\.1:\d+: .*ECONNREFUSED.* \(is the SSH server running/,
  })
})

test('connections that are cut while everything is under way cost nothing but time', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 2 })
  await using file = await store.open('/in/a', bed.o)
  let reads = 0
  bed.server.faults.onRead = () => {
    reads += 1
    if (reads % 100 === 0) bed.server.dropAll()
    return undefined
  }
  await readBusily(file, bed.o)
  await readBusily(file, bed.o)
  assert.ok(bed.server.counters.connections > 1)
})

test('a handshake that does not come to an end is a time-out', async () => {
  await using bed = await startBed({ switches: { stallHandshake: true } })
  await assert.rejects(bed.store({ connect_timeout: '30ms' }).stat('/in/a', bed.o), {
    code: 'source.unavailable',
    message: /no session within connect_timeout \(0.03 s\)/,
  })
})

test('a stop ends the wait for a connection, for its login and for an answer', async () => {
  await using bed = await startBed({ switches: { stallHandshake: true } })
  const stopAt = async (store: ReturnType<SftpBed['store']>, hasBegun: () => boolean) => {
    const stop = new AbortController()
    const asked = store.stat('/in/a', { signal: stop.signal })
    const ended = assert.rejects(asked, { code: 'run.aborted' })
    await bed.until(hasBegun)
    stop.abort(new Error('enough'))
    await ended
  }
  await stopAt(bed.store(), () => bed.server.counters.connections === 1)
  bed.server.switches.stallHandshake = false
  let auths = 0
  bed.server.faults.onAuth = () => {
    auths += 1
    return 'stall'
  }
  await stopAt(bed.store(), () => auths === 1)
  bed.server.faults.onAuth = undefined
  let stats = 0
  bed.server.faults.onStat = () => {
    stats += 1
    return { stall: true }
  }
  await stopAt(bed.store(), () => stats === 1)
  await assert.rejects(bed.store().stat('/', { signal: AbortSignal.abort() }), { code: 'run.aborted' })
})

test('a dead line is found although nothing is asked for, and the next question takes a new one', async () => {
  await using bed = await startBed()
  const store = bed.store({ keepalive_interval: '30ms', keepalive_max: 2 })
  await store.stat('/in/a', bed.o)
  bed.server.freeze()
  await bed.until(() => store.connections === 0)
  bed.server.thaw()
  assert.equal((await store.stat('/in/a', bed.o))?.size, size)
  assert.equal(bed.server.counters.connections, 2)
})

test('an idle line is kept alive', async () => {
  await using bed = await startBed()
  const store = bed.store({ keepalive_interval: '20ms', keepalive_max: 3 })
  await store.stat('/in/a', bed.o)
  await bed.until(() => bed.server.counters.resolves >= 5)
  assert.equal(store.connections, 1)
  assert.equal(bed.server.counters.connections, 1)
})

test('a connection that is cut while it logs in is no wrong password', async () => {
  await using bed = await startBed()
  let cut = false
  bed.server.faults.onAuth = () => {
    if (cut) return undefined
    cut = true
    return 'cut'
  }
  assert.equal((await bed.store().stat('/in/a', bed.o))?.size, size)
  assert.ok(cut)
})

test('a store that is closed does no more', async () => {
  await using bed = await startBed()
  const store = bed.store()
  await using file = await store.open('/in/a', bed.o)
  bed.server.faults.onRead = () => ({ stall: true })
  const reading = assert.rejects(file.read(0, Buffer.alloc(10), bed.o))
  await bed.until(() => bed.server.counters.reads > 0)
  await store[Symbol.asyncDispose]()
  await reading
  await store[Symbol.asyncDispose]()
  await assert.rejects(store.stat('/in/a', bed.o), { code: 'run.aborted' })
})
