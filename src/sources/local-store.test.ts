import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { failsWith } from '../../test/servers/file-bed.ts'
import type { FileEntry } from './file-store.ts'
import { LocalStore } from './local-store.ts'

const live = { signal: new AbortController().signal }

async function within(act: (folder: string, store: LocalStore) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-local-'))
  try {
    await act(folder, new LocalStore())
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function list(store: LocalStore, folder: string): Promise<FileEntry[]> {
  const all: FileEntry[] = []
  for await (const page of store.list(folder, live)) all.push(...page)
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

test('a folder is listed whole, with what its entries are', () =>
  within(async (folder, store) => {
    for (let i = 0; i < 300; i += 1) writeFileSync(join(folder, `f${String(i).padStart(3, '0')}`), 'x'.repeat(i))
    mkdirSync(join(folder, 'sub'))
    symlinkSync('f001', join(folder, 'link'))
    execFileSync('mkfifo', [join(folder, 'pipe')])
    utimesSync(join(folder, 'f007'), 1_700_000_000.123, 1_700_000_000.123)
    const entries = await list(store, folder)
    const kinds = (kind: string) => entries.filter((entry) => entry.kind === kind).map(({ name }) => name)
    assert.equal(kinds('file').length, 300)
    assert.deepEqual([kinds('folder'), kinds('link'), kinds('other')], [['sub'], ['link'], ['pipe']])
    assert.deepEqual(
      entries.find(({ name }) => name === 'f007'),
      { name: 'f007', kind: 'file', size: 7, modifiedMs: 1_700_000_000_123 },
    )
    assert.equal(await store.resolve(join(folder, 'sub/../link'), live), join(folder, 'f001'))
    assert.equal((await store.stat(join(folder, 'link'), live))?.kind, 'file')
    assert.equal(await store.stat(join(folder, 'none'), live), undefined)
    assert.equal(await store.stat(join(folder, 'f001/x'), live), undefined)
  }))

test('a name that is not UTF-8 is told, with the sign for that in it', () =>
  within(async (folder, store) => {
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/bad`), Buffer.from([0xff, 0xfe])]), 'x')
    writeFileSync(join(folder, 'good'), 'x')
    assert.deepEqual(
      (await list(store, folder)).map(({ name }) => name),
      ['bad\ufffd\ufffd', 'good'],
    )
  }))

test('what is not there, or is something else, is told with what to do', () =>
  within(async (folder, store) => {
    const file = join(folder, 'file')
    writeFileSync(file, 'x')
    await assert.rejects(
      store.resolve(join(folder, 'none'), live),
      failsWith('source.access', /no such folder \(check/),
    )
    await assert.rejects(list(store, file), failsWith('source.access', /\(check the path\)/))
    await assert.rejects(store.open(join(folder, 'none'), live), failsWith('source.vanished'))
    await assert.rejects(store.open(folder, live), failsWith('source.vanished'))
    await assert.rejects(store.makeFolder(file, live), failsWith('source.access', /EEXIST/))
  }))

test('a pipe that took the place of a file does not hang the reader', () =>
  within(async (folder, store) => {
    execFileSync('mkfifo', [join(folder, 'pipe')])
    await assert.rejects(store.open(join(folder, 'pipe'), live), failsWith('source.vanished', /no file any more/))
  }))

test('a file is read anywhere, and short only at its end', () =>
  within(async (folder, store) => {
    writeFileSync(join(folder, 'f'), '0123456789')
    await using file = await store.open(join(folder, 'f'), live)
    const into = Buffer.alloc(4, '.')
    assert.deepEqual([await file.read(3, into, live), into.toString()], [4, '3456'])
    assert.deepEqual([await file.read(8, into, live), into.toString()], [2, '8956'])
    assert.equal(await file.read(10, into, live), 0)
    assert.equal((await file.stat(live)).size, 10)
    const over = AbortSignal.abort(new Error('stop'))
    await assert.rejects(file.read(0, into, { signal: over }), /stop/)
    await file[Symbol.asyncDispose]()
  }))

test('moving never goes over a file, and deleting what is gone is no error', () =>
  within(async (folder, store) => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string]
    writeFileSync(a, 'A')
    writeFileSync(b, 'B')
    assert.equal(await store.move(a, b, live), false)
    assert.deepEqual([readFileSync(a, 'utf8'), readFileSync(b, 'utf8')], ['A', 'B'])
    assert.equal(await store.move(a, c, live), true)
    assert.deepEqual([existsSync(a), readFileSync(c, 'utf8')], [false, 'A'])
    await assert.rejects(store.move(a, join(folder, 'd'), live), failsWith('source.vanished'))
    await store.remove(c, live)
    await store.remove(c, live)
    await store.makeFolder(join(folder, 'x/y/z'), live)
    await store.makeFolder(join(folder, 'x/y/z'), live)
    assert.ok(statSync(join(folder, 'x/y/z')).isDirectory())
  }))

test('to another disk a file is copied with its time, and never over another', async (t) => {
  const [here, there] = [tmpdir(), '/dev/shm']
  if (!existsSync(there) || statSync(here).dev === statSync(there).dev) return t.diagnostic('there is one disk only')
  await within(async (folder, store) => {
    const target = mkdtempSync(join(there, 's3-streamer-local-'))
    try {
      const from = join(folder, 'a')
      const to = join(target, 'a')
      writeFileSync(from, 'content')
      utimesSync(from, 1_700_000_000, 1_700_000_000)
      assert.equal(await store.move(from, to, live), true)
      assert.deepEqual(
        [readFileSync(to, 'utf8'), statSync(to).mtimeMs, existsSync(from)],
        ['content', 1_700_000_000_000, false],
      )
      writeFileSync(from, 'other')
      assert.equal(await store.move(from, to, live), false)
      assert.deepEqual([readFileSync(to, 'utf8'), existsSync(from), readdirSync(target)], ['content', true, ['a']])
    } finally {
      rmSync(target, { recursive: true })
    }
  })
})
