import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { test } from 'node:test'
import { denied, withFiles } from '../../test/servers/file-bed.ts'
import type { FileEntry, FileStore } from './file-store.ts'
import { compareBytes, Walk } from './file-walk.ts'

const { signal } = new AbortController()
const unused = () => Promise.reject(new Error('not asked for here'))

/** A store that is made up while it is listed. */
function storeOf(list: (folder: string) => Iterable<readonly FileEntry[]>, more: Partial<FileStore> = {}): FileStore {
  return {
    ...{
      place: 'test://',
      resolve: unused,
      stat: unused,
      open: unused,
      remove: unused,
      move: unused,
      makeFolder: unused,
    },
    async *list(folder) {
      yield* list(folder)
    },
    async [Symbol.asyncDispose]() {},
    ...more,
  }
}

function walkOf(store: FileStore, o: Partial<ConstructorParameters<typeof Walk>[0]> = {}): Walk {
  const yes = () => true
  const nothing = () => undefined
  return new Walk({
    ...{
      store,
      root: '/',
      followLinks: false,
      signal,
      enters: yes,
      wants: yes,
      isMarker: () => false,
      hasMarkers: false,
    },
    ...{ problem: nothing, passedOver: nothing },
    ...o,
  })
}

const file = (name: string): FileEntry => ({ name, kind: 'file', size: 1, modifiedMs: 1 })

test('a folder with more files than memory should hold is given in slices, each in order, none twice', async () => {
  const total = 120_000
  const store = storeOf(function* () {
    for (let at = 0; at < total; at += 500) {
      yield Array.from({ length: 500 }, (_, i) => file(String(((at + i) * 7919) % total).padStart(6, '0')))
    }
  })
  const seen = new Set<string>()
  let steps = 0
  let last = ''
  for await (const { files } of walkOf(store).files()) {
    for (const { path } of files) {
      if (path < last) steps += 1
      last = path
      seen.add(path)
    }
  }
  assert.deepEqual([seen.size, steps], [total, 2])
})

test('with markers a folder is known as a whole before its first file is judged', async () => {
  const store = storeOf(function* () {
    yield [...Array.from({ length: 60_000 }, (_, i) => file(`f${i}`))]
    yield [file('f0.done')]
  })
  const isMarker = (path: string) => path.endsWith('.done')
  const walk = walkOf(store, { isMarker, hasMarkers: true, wants: (path) => !isMarker(path) })
  let marked = 0
  for await (const { files, hasMarker } of walk.files()) {
    for (const { path } of files) if (hasMarker(`${path}.done`)) marked += 1
  }
  assert.equal(marked, 1)
})

test('a server that shows folders without end is ended by the length of the path', async () => {
  const store = storeOf(() => [[{ name: 'again', kind: 'folder', size: 0, modifiedMs: 0 } as const]])
  const problems: string[] = []
  for await (const { files } of walkOf(store, { problem: (path) => void problems.push(path) }).files()) {
    assert.deepEqual(files, [])
  }
  assert.equal(problems.length, 1)
})

test('links that lead to each other in many ways cost one visit a folder', async () => {
  // Each folder has two links to the next one: without care there are 2^20 paths to the last.
  const lists: string[] = []
  const store = storeOf(
    (folder) => {
      lists.push(folder)
      const next = folder === '/' ? 1 : realNumber(folder) + 1
      return next > 20
        ? [[file('end')]]
        : [['l', 'm'].map((name) => ({ name, kind: 'link', size: 0, modifiedMs: 0 }) as const)]
    },
    {
      stat: async () => ({ kind: 'folder', size: 0, modifiedMs: 0 }),
      resolve: async (path) => `/real/${realNumber(path)}`,
    },
  )
  const found: string[] = []
  for await (const { files } of walkOf(store, { followLinks: true }).files())
    found.push(...files.map(({ path }) => path))
  assert.deepEqual([lists.length, found.length], [21, 1])
})

/** How many names the path has: its place in the row of folders. */
function realNumber(path: string): number {
  return path.split('/').length - 1
}

test('paths are compared by their bytes', () => {
  const texts = ['', 'a', 'aa', 'b', 'A', 'ü', '\uffff', '\ue000', '😀', '😁', 'a/', 'a-', 'é', 'e\u0301']
  const byBytes = texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  assert.deepEqual(texts.toSorted(compareBytes), byBytes)
})

test('what is behind a link that cannot be looked at is not forgotten', () =>
  withFiles({ follow_links: true }, async (bed) => {
    bed.put('../far/x')
    bed.put('y')
    symlinkSync(bed.path('../far'), bed.path('link'))
    assert.deepEqual(await bed.run(), ['link/x', 'y'])
    bed.nowMs += 24 * 3_600_000
    bed.fault = (call, path) => {
      if (call === 'stat' && path.endsWith('/link')) throw denied()
    }
    assert.deepEqual(await bed.run(), [])
    bed.fault = () => undefined
    assert.deepEqual(await bed.run(), [])
  }))
