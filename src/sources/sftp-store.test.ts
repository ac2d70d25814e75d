import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SftpBed } from '../../test/servers/sftp-store-bed.ts'
import { sftpStatus } from '../../test/servers/sftp-wire.ts'
import type { FileEntry } from './file-store.ts'
import type { SftpStore } from './sftp-store.ts'

async function list(store: SftpStore, folder: string, o: { signal: AbortSignal }): Promise<FileEntry[]> {
  const entries: FileEntry[] = []
  for await (const page of store.list(folder, o)) entries.push(...page)
  return entries
}

const names = (entries: readonly FileEntry[]) => entries.map(({ name }) => name).sort()

test('lists, tells and reads files', async () => {
  await using bed = await SftpBed.start()
  const { server, o } = bed
  const body = Buffer.from(Array.from({ length: 1_000_003 }, (_, i) => (i * 7919) >> 3))
  server.put('/in/a.csv', body, { mtimeMs: 1_700_000_000_000 })
  server.put('/in/empty', '')
  server.mkdir('/in/sub')
  server.link('/in/link', 'a.csv')
  const store = bed.store()
  assert.equal(store.place, `sftp://acme@127.0.0.1:${server.port}`)
  assert.equal(await store.resolve('.', o), '/home/acme')
  const entries = await list(store, '/in', o)
  assert.deepEqual(entries.map(({ name, kind }) => [name, kind]).sort(), [
    ['a.csv', 'file'],
    ['empty', 'file'],
    ['link', 'link'],
    ['sub', 'folder'],
  ])
  assert.deepEqual(await store.stat('/in/link', o), { kind: 'file', size: 1_000_003, modifiedMs: 1_700_000_000_000 })
  assert.equal(await store.stat('/in/none', o), undefined)
  await using file = await store.open('/in/a.csv', o)
  assert.deepEqual(await file.stat(o), { kind: 'file', size: 1_000_003, modifiedMs: 1_700_000_000_000 })
  const into = Buffer.alloc(600_000)
  assert.equal(await file.read(0, into, o), 600_000)
  assert.ok(into.equals(body.subarray(0, 600_000)))
  assert.equal(await file.read(600_000, into, o), 400_003)
  assert.ok(into.subarray(0, 400_003).equals(body.subarray(600_000)))
  assert.equal(await file.read(1_000_003, Buffer.alloc(1), o), 0)
})

test('a large folder comes in pages', async () => {
  await using bed = await SftpBed.start()
  const expected = Array.from({ length: 1000 }, (_, i) => `${i} a b\n☃`).sort()
  for (const name of expected) bed.server.put(`/in/${name}`, name)
  let pages = 0
  const found: FileEntry[] = []
  for await (const page of bed.store().list('/in', bed.o)) {
    pages += 1
    found.push(...page)
  }
  assert.ok(pages > 1)
  assert.deepEqual(names(found), expected)
  await bed.until(() => bed.server.counters.handlesOpen === 0)
})

test('a list of names only is completed by asking for each', async () => {
  await using bed = await SftpBed.start({ switches: { listWithoutAttributes: true } })
  bed.server.put('/in/a', 'abc', { mtimeMs: 1_700_000_000_000 })
  bed.server.mkdir('/in/sub')
  bed.server.link('/in/to nothing', 'nothing')
  const entries = await list(bed.store(), '/in', bed.o)
  assert.deepEqual(entries.map(({ name, kind }) => [name, kind]).sort(), [
    ['a', 'file'],
    ['sub', 'folder'],
    ['to nothing', 'link'],
  ])
  const [file] = entries.filter(({ name }) => name === 'a')
  assert.deepEqual(file, { name: 'a', kind: 'file', size: 3, modifiedMs: 1_700_000_000_000 })
})

test('a list that is cut goes on, and nothing is given twice', async () => {
  await using bed = await SftpBed.start()
  for (let i = 0; i < 500; i += 1) bed.server.put(`/in/${i}`, '')
  let cuts = 0
  bed.server.faults.onListPage = (_path, n) => {
    if (n < 3 || cuts === 2) return undefined
    cuts += 1
    return { cutAfter: 20 }
  }
  const found = names(await list(bed.store(), '/in', bed.o))
  assert.equal(found.length, 500)
  assert.equal(new Set(found).size, 500)
  assert.equal(cuts, 2)
})

test('a list that is left early gives its handle back', async () => {
  await using bed = await SftpBed.start()
  for (let i = 0; i < 500; i += 1) bed.server.put(`/in/${i}`, '')
  for await (const page of bed.store().list('/in', bed.o)) {
    assert.ok(page.length > 0)
    break
  }
  await bed.until(() => bed.server.counters.handlesOpen === 0)
})

test('fifos, sockets and links are told as what they are', async () => {
  await using bed = await SftpBed.start()
  bed.server.putSpecial('/in/fifo', 'fifo')
  bed.server.link('/in/loop', 'loop')
  bed.server.link('/in/folder', '/in')
  const store = bed.store()
  const kinds = (await list(store, '/in', bed.o)).map(({ name, kind }) => `${name} ${kind}`)
  assert.deepEqual(kinds.sort(), ['fifo other', 'folder link', 'loop link'])
  assert.equal((await store.stat('/in/folder', bed.o))?.kind, 'folder')
})

test('what is not there and what is not allowed is told apart', async () => {
  await using bed = await SftpBed.start()
  bed.server.put('/in/secret', 'x', { mode: 0 })
  bed.server.mkdir('/closed', { mode: 0 })
  bed.server.faults.onOpen = (path) =>
    path === '/in/broken' ? { status: sftpStatus.failure, message: 'EIO' } : undefined
  const store = bed.store()
  await assert.rejects(store.open('/in/none', bed.o), { code: 'source.vanished', message: /^cannot open \/in\/none: / })
  await assert.rejects(store.open('/in/secret', bed.o), {
    code: 'source.access',
    message: /cannot open \/in\/secret: .*give the user/,
  })
  await assert.rejects(store.open('/in/broken', bed.o), {
    code: 'source.unavailable',
    message: 'cannot open /in/broken: EIO',
  })
  await assert.rejects(list(store, '/none', bed.o), { code: 'source.access', message: /no such folder \(check `path`/ })
  await assert.rejects(list(store, '/closed', bed.o), { code: 'source.access' })
  assert.equal(bed.server.counters.handlesOpen, 0)
})

test('removing is done when the file is gone, whoever removed it', async () => {
  await using bed = await SftpBed.start()
  bed.server.put('/in/a', 'x')
  const store = bed.store()
  // The answer is lost: the second attempt finds nothing.
  let removes = 0
  bed.server.faults.onRemove = () => {
    removes += 1
    return removes === 1 ? { cutAfter: 0 } : undefined
  }
  await store.remove('/in/a', bed.o)
  assert.equal(removes, 2)
  await store.remove('/in/a', bed.o)
  assert.deepEqual(bed.server.tree('/in'), ['/in/'])
})

test('moving never takes the place of another file', async () => {
  await using bed = await SftpBed.start()
  bed.server.put('/in/a', 'new')
  bed.server.put('/done/a', 'old')
  bed.server.link('/done/link', 'nowhere')
  const store = bed.store()
  assert.equal(await store.move('/in/a', '/done/a', bed.o), false)
  assert.equal(await store.move('/in/a', '/done/link', bed.o), false)
  assert.equal(await store.move('/in/a', '/done/b', bed.o), true)
  assert.deepEqual([bed.server.read('/done/a'), bed.server.read('/done/b')].map(String), ['old', 'new'])
  await assert.rejects(store.move('/in/a', '/done/c', bed.o), { code: 'source.vanished' })
  await assert.rejects(store.move('/done/b', '/none/b', bed.o), { code: 'source.access', message: /no folder for it/ })
  assert.ok(bed.server.exists('/done/b'))
})

test('somebody who is faster gets the name, and the file stays', async () => {
  await using bed = await SftpBed.start()
  bed.server.put('/in/a', 'new')
  bed.server.faults.onRename = () => {
    bed.server.put('/done/a', 'theirs')
    return undefined
  }
  bed.server.mkdir('/done')
  assert.equal(await bed.store().move('/in/a', '/done/a', bed.o), false)
  assert.deepEqual([bed.server.read('/in/a'), bed.server.read('/done/a')].map(String), ['new', 'theirs'])
})

test('a move whose answer is lost was one', async () => {
  await using bed = await SftpBed.start()
  bed.server.put('/in/a', 'x')
  bed.server.mkdir('/done')
  bed.server.faults.onRename = (_path, n) => (n === 1 ? { cutAfter: 0 } : undefined)
  assert.equal(await bed.store().move('/in/a', '/done/a', bed.o), true)
  assert.deepEqual([bed.server.tree('/in'), bed.server.tree('/done')], [['/in/'], ['/done/', '/done/a']])
})

test('folders are made with those above them, also by several at once and with answers lost', async () => {
  await using bed = await SftpBed.start()
  const store = bed.store()
  bed.server.faults.onMakeFolder = (_path, n) => (n === 1 ? { cutAfter: 0 } : undefined)
  await Promise.all([store.makeFolder('/done/2026/11', bed.o), store.makeFolder('/done/2026/12', bed.o)])
  assert.deepEqual(bed.server.tree('/done'), ['/done/', '/done/2026/', '/done/2026/11/', '/done/2026/12/'])
  bed.server.put('/done/file', 'x')
  await assert.rejects(store.makeFolder('/done/file/below', bed.o), { code: 'source.access' })
  await assert.rejects(store.makeFolder('/done/file', bed.o), {
    code: 'source.access',
    message: /something else of that name/,
  })
})
