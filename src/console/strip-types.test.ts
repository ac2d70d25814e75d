import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutTypes } from './strip-types.ts'

const typed = ['const a: number = 1', 'interface B {}\nexport const b = <T>(one: T): T => one']

/** Line by line, without the blanks that stand where types stood. */
const wordsOf = (sources: readonly string[]) => sources.map((source) => source.split(/\s+/).filter(Boolean).join(' '))
const untyped = ['const a = 1', 'export const b = (one ) => one']

test('types are taken out of all sources, and what is left is in their order', async () => {
  assert.deepEqual(wordsOf(await withoutTypes(typed)), untyped)
})

test('where no process can be started, it is done all the same', async () => {
  const { execPath } = process
  process.execPath = '/nonexistent/node'
  try {
    assert.deepEqual(wordsOf(await withoutTypes(typed)), untyped)
  } finally {
    process.execPath = execPath
  }
})

test('a source that is none is refused, not given to browsers', async () => {
  await assert.rejects(withoutTypes(['const = :']))
})
