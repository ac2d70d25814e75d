import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SftpOptions, startSftp } from './sftp.ts'
import { virtualBytes } from './sftp-bytes.ts'
import { openSftp, type SftpClient } from './sftp-client.ts'
import { sftpStatus } from './sftp-wire.ts'

async function bed(o: SftpOptions = {}) {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await startSftp(o))
  const client: SftpClient = stack.use(await openSftp(server))
  return { server, client, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const status = (code: number) => (error: unknown) => error instanceof Error && 'code' in error && error.code === code

test('files are listed, asked about, read, renamed and removed', async () => {
  await using t = await bed()
  const { server, client } = t
  server.put('/data/a.csv', 'one,two\n', { mtimeMs: 1_700_000_000_000, mode: 0o600 })
  server.mkdir('/data/deep/er')
  assert.deepEqual(
    (await client.list('/data')).map(({ filename, attrs }) => [filename, attrs.size, attrs.mode]),
    [
      ['a.csv', 8, 0o100600],
      ['deep', 4096, 0o40755],
    ],
  )
  const { size, mtime } = await client.stat('/data/a.csv')
  assert.deepEqual({ size, mtime }, { size: 8, mtime: 1_700_000_000 })

  const handle = await client.open('/data/a.csv')
  assert.equal((await client.read(handle, 4, 100)).toString(), 'two\n')
  assert.equal((await client.read(handle, 8, 100)).length, 0)
  assert.equal(server.counters.handlesOpen, 1)
  await client.close(handle)
  assert.equal(server.counters.handlesOpen, 0)

  await client.makeFolder('/done')
  await client.rename('/data/a.csv', '/done/a.csv')
  assert.deepEqual(server.tree(), [
    '/data/',
    '/data/deep/',
    '/data/deep/er/',
    '/done/',
    '/done/a.csv',
    '/home/',
    '/home/acme/',
  ])
  await client.remove('/done/a.csv')
  assert.equal(server.exists('/done/a.csv'), false)
  const { opens, reads, readBytes, removes, renames, makeFolders, lists, stats } = server.counters
  assert.deepEqual(
    { opens, reads, readBytes, removes, renames, makeFolders, lists, stats },
    { opens: 1, reads: 2, readBytes: 4, removes: 1, renames: 1, makeFolders: 1, lists: 1, stats: 1 },
  )
})

test('what cannot be done is refused with the status that OpenSSH gives', async () => {
  await using t = await bed()
  const { server, client } = t
  server.put('/data/a', 'a')
  server.put('/data/b', 'b')
  server.put('/closed/a', 'a', { mode: 0 })
  server.chmod('/closed', 0o555)
  server.mkdir('/locked', { mode: 0 })
  server.link('/loop', '/loop')
  await assert.rejects(client.stat('/none'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.stat('/data/a/below'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.open('/none'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.stat('/loop'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.open('/closed/a'), status(sftpStatus.permissionDenied))
  await assert.rejects(client.remove('/closed/a'), status(sftpStatus.permissionDenied))
  await assert.rejects(client.list('/locked'), status(sftpStatus.permissionDenied))
  await assert.rejects(client.stat('/locked/a'), status(sftpStatus.permissionDenied))
  await assert.rejects(client.rename('/data/a', '/data/b'), status(sftpStatus.failure))
  await assert.rejects(client.rename('/data/none', '/data/c'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.makeFolder('/data'), status(sftpStatus.failure))
  await assert.rejects(client.makeFolder('/none/x'), status(sftpStatus.noSuchFile))
  await assert.rejects(client.remove('/data'), status(sftpStatus.failure))
  assert.equal(server.read('/data/b')?.toString(), 'b')
  await client.replace('/data/a', '/data/b')
  assert.equal(server.read('/data/b')?.toString(), 'a')
})

test('attributes are set, links made and read, folders removed, the room on the disk told', async () => {
  await using t = await bed()
  const { server, client } = t
  server.put('/d/a', 'abcdef')
  await client.done((done) => client.sftp.setstat('/d/a', { size: 8, mode: 0o640, atime: 1, mtime: 1234 }, done))
  const { size, mode, mtime } = await client.stat('/d/a')
  assert.deepEqual({ size, mode, mtime }, { size: 8, mode: 0o100640, mtime: 1234 })
  assert.equal(server.read('/d/a')?.toString(), 'abcdef\0\0')
  await client.done((done) => client.sftp.symlink('a', '/d/link', done))
  assert.equal((await client.stat('/d/link')).size, 8)
  assert.equal(await client.value<string>((done) => client.sftp.readlink('/d/link', done)), 'a')
  await assert.rejects(
    client.done((done) => client.sftp.rmdir('/d', done)),
    status(sftpStatus.failure),
  )
  server.mkdir('/empty')
  await client.done((done) => client.sftp.rmdir('/empty', done))
  assert.deepEqual(server.tree(), ['/d/', '/d/a', '/d/link', '/home/', '/home/acme/'])
  const room = await client.value<{ f_bsize: number }>((done) => client.sftp.ext_openssh_statvfs('/', done))
  assert.equal(room.f_bsize, 4096)
})

test('links are followed by STAT, told by LSTAT and READDIR, resolved by REALPATH', async () => {
  await using t = await bed()
  const { server, client } = t
  server.put('/home/acme/real/a', 'abc')
  server.link('/short', 'home/acme/real')
  server.link('/broken', '/nowhere')
  server.putSpecial('/fifo', 'fifo')
  assert.equal((await client.stat('/short/a')).size, 3)
  assert.equal((await client.lstat('/short')).isSymbolicLink(), true)
  assert.equal((await client.lstat('/fifo')).isFIFO(), true)
  const kinds = (await client.list('/')).filter(({ attrs }) => attrs.isSymbolicLink()).map(({ filename }) => filename)
  assert.deepEqual(kinds, ['short', 'broken'])
  await assert.rejects(client.stat('/broken'), status(sftpStatus.noSuchFile))
  assert.equal(await client.resolve('.'), '/home/acme')
  assert.equal(await client.resolve('real/../../acme/./real/a'), '/home/acme/real/a')
  assert.equal(await client.resolve('/short/new'), '/home/acme/real/new')
})

test('a folder of many files is listed in pages; names are bytes', async () => {
  await using t = await bed()
  const { server, client } = t
  for (let i = 0; i < 1234; i += 1) server.put(`/many/${i} ä\n`, '')
  server.put(Buffer.from([...Buffer.from('/many/'), 0xff, 0xfe]), 'x')
  let pages = 0
  server.faults.onListPage = () => {
    pages += 1
    return undefined
  }
  const names = new Set((await client.list('/many')).map(({ filename }) => filename))
  assert.equal(names.size, 1235)
  assert.equal(names.has('77 ä\n'), true)
  assert.equal(names.has('\ufffd\ufffd'), true)
  assert.equal(pages, 14)
})

test('limits@openssh.com tells how long a READ may be, and is unknown where it is switched off', async () => {
  const lengths: number[] = []
  for (const o of [
    {},
    { switches: { maxReadBytes: 4096 } },
    { switches: { withoutLimits: true } },
    { switches: { withoutLimits: true }, software: 'Other_1.0' },
  ]) {
    await using t = await bed(o)
    lengths.push(t.client.maxReadLength)
  }
  assert.deepEqual(lengths, [255 * 1024, 4096, 254 * 1024, 34_000 - 2048])
})

test('a file that is open outlives its removal; what is written into it is seen, a new one in its place is not', async () => {
  await using t = await bed()
  const { server, client } = t
  server.put('/a', 'first')
  const handle = await client.open('/a')
  server.put('/a', 'second')
  assert.equal((await client.read(handle, 0, 100)).toString(), 'first')
  const anew = await client.open('/a')
  server.put('/a', 'second and more', { inPlace: true })
  assert.equal((await client.read(anew, 0, 100)).toString(), 'second and more')
  server.remove('/a')
  assert.equal((await client.read(anew, 0, 6)).toString(), 'second')
})

test('virtual bytes are the same however they are read, and differ by their place', async () => {
  await using t = await bed()
  const { server, client } = t
  const bytes = virtualBytes('seed')
  const size = 3_000_000_017
  server.putVirtual('/big', size, bytes)
  const handle = await client.open('/big')
  assert.equal((await client.fstat(handle)).size, size)
  const at = 2 ** 31 - 1000
  const read = await client.read(handle, at, 5000)
  const pieces = Array.from({ length: 5 }, (_, i) => bytes(at + i * 1000, at + (i + 1) * 1000))
  assert.deepEqual(read, Buffer.concat(pieces))
  assert.notDeepEqual(bytes(0, 4096), bytes(8 * 2 ** 20, 8 * 2 ** 20 + 4096))
  assert.deepEqual(bytes(1000, 3_000_000).subarray(2_000_000, 2_000_100), bytes(2_001_000, 2_001_100))
  assert.equal((await client.read(handle, size - 7, 100)).length, 7)
})

test('short, strict, serial and lying servers', async (t) => {
  await t.test('a READ that is too long is answered short, or fails', async () => {
    await using b = await bed({ switches: { withoutLimits: true, maxReadBytes: 1000 } })
    b.server.put('/a', Buffer.alloc(5000, 1))
    const handle = await b.client.open('/a')
    assert.equal((await b.client.read(handle, 0, 3000)).length, 1000)
    b.server.switches.maxReadStrict = true
    await assert.rejects(b.client.read(handle, 0, 3000), status(sftpStatus.failure))
    assert.equal((await b.client.read(handle, 0, 1000)).length, 1000)
  })
  await t.test('some bytes at a time make the whole in the end', async () => {
    await using b = await bed({ switches: { shortReads: true } })
    const body = virtualBytes()(0, 100_000)
    b.server.put('/a', body)
    const handle = await b.client.open('/a')
    const pieces: Buffer[] = []
    for (let at = 0; at < body.length; at += pieces.at(-1)?.length ?? 0) {
      pieces.push(await b.client.read(handle, at, body.length))
    }
    assert.deepEqual(Buffer.concat(pieces), body)
    assert.ok(pieces.length > 1)
  })
  await t.test('a second READ in flight on one handle fails, on another it does not', async () => {
    await using b = await bed({ switches: { serialOnly: true } })
    b.server.put('/a', 'abc')
    const [one, other] = await Promise.all([b.client.open('/a'), b.client.open('/a')])
    const first = b.client.read(one, 0, 3)
    const second = b.client.read(one, 0, 3)
    const third = b.client.read(other, 0, 3)
    await assert.rejects(second, status(sftpStatus.failure))
    assert.deepEqual(await Promise.all([first, third]), [Buffer.from('abc'), Buffer.from('abc')])
    assert.equal((await b.client.read(one, 0, 3)).toString(), 'abc')
  })
  await t.test('sizes and names are told that are not true', async () => {
    await using b = await bed()
    b.server.put('/d/a', 'abc')
    b.server.lieAboutSize('/d/a', 99)
    b.server.lieAboutNames('/d', ['../evil', 'x/y'])
    const list = await b.client.list('/d')
    assert.deepEqual(
      list.map(({ filename, attrs }) => [filename, attrs.size]),
      [
        ['a', 99],
        ['../evil', 1],
        ['x/y', 1],
      ],
    )
    assert.equal((await b.client.stat('/d/a')).size, 99)
    assert.equal((await b.client.read(await b.client.open('/d/a'), 0, 99)).length, 3)
    b.server.lieAboutSize('/d/a', undefined)
    assert.equal((await b.client.stat('/d/a')).size, 3)
    b.server.switches.listWithoutAttributes = true
    assert.equal((await b.client.list('/d'))[0]?.attrs.size, undefined)
  })
  await t.test('with latency all requests wait at the same time', async () => {
    await using b = await bed({ switches: { latencyMs: 20 } })
    b.server.put('/a', 'abc')
    const handle = await b.client.open('/a')
    await Promise.all(Array.from({ length: 8 }, () => b.client.read(handle, 0, 3)))
    assert.equal(b.server.counters.readsInFlight, 8)
  })
  await t.test('handles run out', async () => {
    await using b = await bed({ switches: { maxHandles: 2 } })
    b.server.put('/a', 'abc')
    const [first] = await Promise.all([b.client.open('/a'), b.client.open('/a')])
    await assert.rejects(b.client.open('/a'), status(sftpStatus.failure))
    await b.client.close(first)
    await b.client.open('/a')
  })
})

test('faults of one request', async (t) => {
  await t.test('refusal, delay, other bytes, fewer bytes; hooks count', async () => {
    await using b = await bed()
    b.server.put('/a', 'abcdef')
    const handle = await b.client.open('/a')
    const seen: unknown[] = []
    b.server.faults.onRead = async (path, offset, length, n) => {
      seen.push([path, offset, length, n])
      if (n === 1) return { status: sftpStatus.failure, message: 'disk on fire' }
      if (n === 2) return { delayMs: 1, next: { data: Buffer.from('XYZ') } }
      return n === 3 ? { short: 2 } : undefined
    }
    await assert.rejects(b.client.read(handle, 0, 6), /disk on fire/)
    assert.equal((await b.client.read(handle, 0, 6)).toString(), 'XYZ')
    assert.equal((await b.client.read(handle, 1, 5)).toString(), 'bc')
    assert.equal((await b.client.read(handle, 0, 6)).toString(), 'abcdef')
    assert.deepEqual(seen[2], ['/a', 1, 5, 3])
  })
  await t.test('every kind of request has its hook', async () => {
    await using b = await bed()
    const { faults } = b.server
    b.server.put('/a', 'abc')
    const handle = await b.client.open('/a')
    const refusal = () => ({ status: sftpStatus.connectionLost })
    faults.onOpen = faults.onClose = faults.onList = faults.onStat = faults.onResolve = refusal
    faults.onRemove = faults.onRename = faults.onMakeFolder = refusal
    const all = [
      b.client.open('/a'),
      b.client.close(handle),
      b.client.list('/'),
      b.client.stat('/a'),
      b.client.lstat('/a'),
      b.client.fstat(handle),
      b.client.resolve('/a'),
      b.client.remove('/a'),
      b.client.rename('/a', '/b'),
      b.client.makeFolder('/b'),
    ]
    await Promise.all(all.map((one) => assert.rejects(one, status(sftpStatus.connectionLost))))
    assert.deepEqual(b.server.tree(), ['/a', '/home/', '/home/acme/'])
  })
  await t.test('cut before: nothing was done; cut in the answer: it was', async () => {
    await using server = await startSftp()
    server.put('/a', 'abc')
    server.put('/b', 'abc')
    server.faults.onRemove = (path) => (path === '/a' ? { cut: true } : { cutAfter: 5 })
    for (const path of ['/a', '/b']) {
      await using client = await openSftp(server)
      await assert.rejects(client.remove(path))
      await client.ended
    }
    assert.deepEqual(server.tree('/').slice(0, 2), ['/a', '/home/'])
    assert.equal(server.counters.connectionsOpen, 0)
    assert.equal(server.counters.handlesOpen, 0)
  })
  await t.test('a READ that is cut in the middle, stalled, or answered by rubbish', async () => {
    await using server = await startSftp()
    server.put('/a', Buffer.alloc(200_000, 7))
    for (const fault of [{ cutAfter: 100_000 }, { raw: Buffer.from('\xff\xff\xff\xffrubbish', 'latin1') }]) {
      await using client = await openSftp(server)
      const handle = await client.open('/a')
      server.faults.onRead = () => fault
      await assert.rejects(client.read(handle, 0, 200_000))
    }
    await using client = await openSftp(server)
    const handle = await client.open('/a')
    server.faults.onRead = (_path, offset) => (offset === 0 ? { stall: true } : undefined)
    const stalled = client.read(handle, 0, 10)
    assert.equal((await client.read(handle, 10, 10)).length, 10)
    server.dropAll()
    await assert.rejects(stalled)
  })
  await t.test('a hook that throws is seen by the client', async () => {
    await using b = await bed()
    b.server.faults.onOpen = async () => {
      throw new Error('broken hook')
    }
    await assert.rejects(b.client.open('/a'), /test server: Error: broken hook/)
  })
})
