import assert from 'node:assert/strict'
import { test } from 'node:test'
import { virtualBytes } from '../../test/servers/sftp-bytes.ts'
import { SftpBed } from '../../test/servers/sftp-store-bed.ts'
import { sftpStatus } from '../../test/servers/sftp-wire.ts'
import type { OpenFile } from './file-store.ts'

const bytes = virtualBytes()
const size = 5_000_011
const path = '/in/a file ☃.bin'

async function startBed(...[o]: Parameters<typeof SftpBed.start>): Promise<SftpBed> {
  const bed = await SftpBed.start(o)
  bed.server.putVirtual(path, size, bytes)
  return bed
}

/** Reads the file in parts at the same time; fails if a byte is wrong. */
async function readInParts(file: OpenFile, o: { signal: AbortSignal }, partBytes = 1_000_000): Promise<void> {
  const parts = Array.from({ length: Math.ceil(size / partBytes) }, (_, i) => i * partBytes)
  await Promise.all(parts.map((from) => readPart(file, from, Math.min(from + partBytes, size), o)))
}

async function readPart(file: OpenFile, from: number, to: number, o: { signal: AbortSignal }): Promise<void> {
  const into = Buffer.alloc(to - from, 0xee)
  assert.equal(await file.read(from, into, o), to - from)
  assert.ok(into.equals(bytes(from, to)), `bytes ${from} to ${to}`)
}

test('a part is read with many requests under way, as large as the server says it can', async () => {
  await using bed = await startBed()
  await using file = await bed.store().open(path, bed.o)
  bed.server.switches.latencyMs = 5
  await readPart(file, 0, size, bed.o)
  assert.equal(bed.server.counters.readsInFlight, 16)
  assert.equal(bed.server.counters.reads, Math.ceil(size / (255 * 1024)))
})

test('one connection reads all parts of all files, not one a chunk', async () => {
  await using bed = await startBed()
  bed.server.putVirtual('/in/b', size, bytes)
  const store = bed.store({ sessions: 1 })
  await using a = await store.open(path, bed.o)
  await using b = await store.open('/in/b', bed.o)
  await Promise.all([readInParts(a, bed.o, 100_003), readInParts(b, bed.o, 100_003)])
  assert.equal(bed.server.counters.connections, 1)
  assert.equal(bed.server.counters.opens, 2)
})

test('a chunk that comes short is completed, not taken for whole', async () => {
  await using bed = await startBed({ switches: { shortReads: true } })
  await using file = await bed.store().open(path, bed.o)
  await readPart(file, 17, 2_000_000, bed.o)
})

test('a server that answers 32 KiB to whatever is asked for is asked for so much', async () => {
  await using bed = await startBed({ switches: { withoutLimits: true, maxReadBytes: 32 * 1024 } })
  await using file = await bed.store().open(path, bed.o)
  await readInParts(file, bed.o)
  assert.equal(bed.logged('answers smaller reads only').length, 1)
  const before = bed.server.counters.reads
  await readPart(file, 0, 1_048_576, bed.o)
  assert.equal(bed.server.counters.reads - before, 32)
})

test('a server that fails reads over 32 KiB is asked for so much', async () => {
  await using bed = await startBed({ switches: { withoutLimits: true, maxReadBytes: 32 * 1024, maxReadStrict: true } })
  await using file = await bed.store().open(path, bed.o)
  await readInParts(file, bed.o)
  assert.equal(bed.logged('answers smaller reads only').length, 1)
  assert.equal(bed.logged('one at a time').length, 0)
})

test('an unknown server without limits is asked for what every server must take', async () => {
  await using bed = await startBed({
    software: 'Acme_1.0',
    switches: { withoutLimits: true, maxReadBytes: 32 * 1024, maxReadStrict: true },
  })
  await using file = await bed.store().open(path, bed.o)
  await readInParts(file, bed.o)
  assert.deepEqual(
    bed.lines.filter(({ level }) => level !== 'debug'),
    [],
  )
})

test('read_size is asked for, whatever the server says', async () => {
  await using bed = await startBed({ software: 'Acme_1.0', switches: { withoutLimits: true } })
  await using file = await bed.store({ read_size: '200KiB' }).open(path, bed.o)
  await readPart(file, 0, 2_048_000, bed.o)
  assert.equal(bed.server.counters.reads, 10)
})

test('a server that fails reads that are under way at once is read one at a time, and this is said once', async () => {
  await using bed = await startBed({ switches: { serialOnly: true } })
  const store = bed.store({ sessions: 1 })
  await using file = await store.open(path, bed.o)
  await readInParts(file, bed.o)
  assert.equal(bed.logged('one at a time').length, 1)
  const { reads } = bed.server.counters
  await readInParts(file, bed.o)
  assert.equal(bed.server.counters.reads - reads, 21, 'no read was in vain')
  assert.equal(bed.logged('one at a time').length, 1)
})

test('one read that fails by accident is repeated, and the others stay together', async () => {
  await using bed = await startBed()
  await using file = await bed.store().open(path, bed.o)
  let failed = 0
  bed.server.faults.onRead = (_path, offset) => {
    if (offset < 1_000_000 || failed > 0) return undefined
    failed += 1
    return { status: sftpStatus.failure }
  }
  await readInParts(file, bed.o)
  assert.equal(failed, 1)
  assert.equal(bed.logged('one at a time').length, 0)
})

test('where a file ends, fewer bytes are given', async () => {
  await using bed = await startBed()
  await using file = await bed.store().open(path, bed.o)
  const into = Buffer.alloc(1_000_000, 0xee)
  assert.equal(await file.read(size - 300_000, into, bed.o), 300_000)
  assert.ok(into.subarray(0, 300_000).equals(bytes(size - 300_000, size)))
  assert.equal(await file.read(size, Buffer.alloc(1), bed.o), 0)
  assert.equal(await file.read(size * 2, Buffer.alloc(1000), bed.o), 0)
  assert.equal(await file.read(0, Buffer.alloc(0), bed.o), 0)
})

test('a size that is a lie does not make bytes', async () => {
  await using bed = await startBed()
  bed.server.lieAboutSize(path, size + 700_000)
  await using file = await bed.store().open(path, bed.o)
  assert.equal((await file.stat(bed.o)).size, size + 700_000)
  assert.equal(await file.read(size - 100, Buffer.alloc(700_100), bed.o), 100)
})

test('offsets over 4 GiB are read where they are', async () => {
  await using bed = await startBed()
  const huge = 5 * 2 ** 40 + 12_345
  bed.server.putVirtual('/huge', huge, bytes)
  await using file = await bed.store().open('/huge', bed.o)
  await readPart(file, huge - 1_000_000, huge, bed.o)
})

test('a read error that stays is told with the place, after a few attempts on new handles', async () => {
  await using bed = await startBed()
  await using file = await bed.store({ sessions: 1 }).open(path, bed.o)
  bed.server.faults.onRead = (_path, offset) =>
    offset === 0 ? { status: sftpStatus.failure, message: 'I/O error' } : undefined
  await assert.rejects(file.read(0, Buffer.alloc(100_000), bed.o), {
    code: 'source.unavailable',
    message: /^cannot read 32768 bytes at 0 of \/in\/a file ☃\.bin: I\/O error$/,
  })
  await bed.until(() => bed.server.counters.handlesOpen <= 1)
})

test('a connection that is cut at any byte of an answer costs a new connection and no byte', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 1 })
  await using file = await store.open(path, bed.o)
  for (const cutAfter of [0, 3, 4, 9, 13, 14, 70_000, 261_132]) {
    let cut = false
    bed.server.faults.onRead = (_path, offset) => {
      if (cut || offset < 600_000) return undefined
      cut = true
      return { cutAfter }
    }
    await readPart(file, 3, 2_500_000, bed.o)
    assert.ok(cut)
  }
  assert.equal(bed.server.counters.connections, 9)
})

test('a read that is never answered costs a new connection after read_timeout', async () => {
  await using bed = await startBed()
  await using file = await bed.store({ sessions: 1, read_timeout: '100ms' }).open(path, bed.o)
  let stalled = 0
  bed.server.faults.onRead = (_path, offset) => {
    if (offset < 500_000 || stalled > 0) return undefined
    stalled += 1
    return { stall: true }
  }
  await readInParts(file, bed.o)
  assert.equal(stalled, 1)
  assert.equal(bed.server.counters.connections, 2)
})

test('a server that never answers a read is given up', async () => {
  await using bed = await startBed()
  await using file = await bed.store({ read_timeout: '60ms' }).open(path, bed.o)
  bed.server.faults.onRead = () => ({ stall: true })
  await assert.rejects(file.read(0, Buffer.alloc(10), bed.o), {
    code: 'source.unavailable',
    message: /no answer within read_timeout \(0.06 s\)/,
  })
})

test('many requests on a slow line are no time-out while answers come', async () => {
  await using bed = await startBed()
  await using file = await bed
    .store({ sessions: 1, read_timeout: '300ms', read_size: '4KiB', read_requests: 40 })
    .open(path, bed.o)
  let last = Promise.resolve()
  // One answer after the other, 15 ms each: the last ones wait for twice the time.
  bed.server.faults.onRead = async () => {
    const turn = last.then(() => new Promise<void>((resolve) => setTimeout(resolve, 15)))
    last = turn
    await turn
    return undefined
  }
  await readPart(file, 0, 40 * 4096, bed.o)
  assert.equal(bed.server.counters.connections, 1)
})

test('a read that is aborted ends soon, and its buffer is not written any more', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 1 })
  await using file = await store.open(path, bed.o)
  const stop = new AbortController()
  const gate = Promise.withResolvers<undefined>()
  let asked = 0
  bed.server.faults.onRead = () => {
    asked += 1
    if (asked === 8) stop.abort(new Error('enough'))
    return gate.promise
  }
  const into = Buffer.alloc(size)
  await assert.rejects(file.read(0, into, { signal: stop.signal }), { code: 'run.aborted' })
  const copy = Buffer.from(into)
  gate.resolve(undefined)
  await readInParts(file, bed.o)
  assert.ok(into.equals(copy))
})

test('an aborted read whose answers come leaves the connection to the others', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 1 })
  await using file = await store.open(path, bed.o)
  bed.server.switches.latencyMs = 20
  const stop = new AbortController()
  bed.server.faults.onRead = () => {
    stop.abort(new Error('enough'))
    return undefined
  }
  await assert.rejects(file.read(0, Buffer.alloc(size), { signal: stop.signal }), { code: 'run.aborted' })
  await readInParts(file, bed.o)
  assert.equal(bed.server.counters.connections, 1)
})

test('a read that is aborted and never answered costs the others a new connection, not their work', async () => {
  await using bed = await startBed()
  bed.server.put('/in/stuck', 'x')
  const store = bed.store({ sessions: 1 })
  await using file = await store.open(path, bed.o)
  await using stuck = await store.open('/in/stuck', bed.o)
  const stop = new AbortController()
  const late = Promise.withResolvers<undefined>()
  bed.server.faults.onRead = (name, offset) => {
    if (name === '/in/stuck') stop.abort(new Error('enough'))
    else if (offset < 3_000_000) return undefined
    return bed.server.counters.connections === 1 ? late.promise : undefined
  }
  const aborted = assert.rejects(stuck.read(0, Buffer.alloc(1), { signal: stop.signal }), { code: 'run.aborted' })
  await readInParts(file, bed.o)
  await aborted
  late.resolve(undefined)
  assert.equal(bed.server.counters.connections, 2)
})

test('a file that is another one when it is opened again is not read on', async () => {
  await using bed = await startBed()
  await using file = await bed.store({ sessions: 1 }).open(path, bed.o)
  await readPart(file, 0, 1000, bed.o)
  bed.server.putVirtual(path, size, virtualBytes('new'), { mtimeMs: 1_600_000_000_000 })
  bed.server.dropAll()
  await assert.rejects(file.read(1000, Buffer.alloc(1000), bed.o), { code: 'source.replaced' })
  bed.server.remove(path)
  bed.server.dropAll()
  await assert.rejects(file.read(1000, Buffer.alloc(1000), bed.o), { code: 'source.vanished' })
})

test('handles are given back', async () => {
  await using bed = await startBed()
  const store = bed.store({ sessions: 3 })
  for (let i = 0; i < 5; i += 1) {
    await using file = await store.open(path, bed.o)
    await readInParts(file, bed.o)
  }
  await bed.until(() => bed.server.counters.handlesOpen === 0)
  assert.ok(bed.server.counters.opens <= 15)
})

test('any parts of any sizes give the bytes of the file, whatever the server does', async () => {
  await using bed = await startBed({ switches: { shortReads: true } })
  const store = bed.store({ sessions: 2, read_requests: 5, read_size: '20KiB' })
  await using file = await store.open(path, bed.o)
  let seed = 42
  const random = (n: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed % n
  }
  bed.server.faults.onRead = () => {
    const what = random(300)
    if (what === 0) return { cutAfter: random(20_000) }
    if (what < 5) return { status: sftpStatus.failure }
    return what < 20 ? { delayMs: random(5) } : undefined
  }
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const from = random(size)
        await readPart(file, from, Math.min(size, from + random(300_000)), bed.o)
      }),
    )
  }
})
