import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytesOf, finish } from '../../test/conformance/source-harness.ts'
import { failsWith, withFiles } from '../../test/servers/file-bed.ts'
import type { FileObject } from './file-object.ts'

const never = new AbortController().signal
const live = { signal: never }

test('C6.4: a file that changed while it was read is given again as it is then, within the same run', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'first')
    const read: string[] = []
    for await (const object of bed.source.objects({ soft: never, once: true })) {
      const into = Buffer.alloc(object.size)
      assert.equal(await bed.source.confirm(object, live), object.size)
      await bed.source.fill(object, 0, into, live)
      if (read.length === 0) bed.put('a', 'second')
      const outcome = await bed.source.confirm(object, live).then(
        () => 'done' as const,
        (error: unknown) => failsWith('source.replaced')(error) && ('replaced' as const),
      )
      read.push(`${into} ${outcome || 'wrong'}`)
      finish(bed, object, outcome || 'failed')
    }
    assert.deepEqual(read, ['first replaced', 'second done'])
    assert.equal(bed.source.progress.failed, 0)
  }))

test('C6.3: a size that is wrong either way is told with both sizes, and nothing short is taken for the whole', () =>
  withFiles({}, async (bed) => {
    bed.put('long', '0123456789')
    bed.put('short', '0123456789')
    bed.store.entries = (_, entries) => entries.map((entry) => ({ ...entry, size: entry.name === 'long' ? 7 : 15 }))
    bed.store.facts = (path, facts) =>
      facts?.kind === 'file' ? { ...facts, size: path.endsWith('long') ? 7 : 15 } : facts
    const objects: FileObject[] = []
    await bed.run((object) => {
      objects.push(object)
      return 'failed'
    })
    const [long, short] = objects as [FileObject, FileObject]
    assert.equal(await bed.source.confirm(long, live), 7)
    const longer = /7 bytes were listed, and it goes on behind them/
    await assert.rejects(bed.source.fill(long, 0, Buffer.alloc(7), live), failsWith('source.short_body', longer))
    await assert.rejects(bytesOf(bed.source.open(long, 0, live)), failsWith('source.short_body', longer))
    // A part in the middle cannot know.
    await bed.source.fill(long, 0, Buffer.alloc(3), live)
    const shorter = /15 bytes were listed, and it ended after 10/
    await assert.rejects(bed.source.fill(short, 8, Buffer.alloc(7), live), failsWith('source.short_body', shorter))
    await assert.rejects(bytesOf(bed.source.open(short, 0, live)), failsWith('source.short_body', shorter))
  }))

test('a file that grows in place while it is read is replaced, not too long', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'abc')
    const [object] = (await bed.listed()) as [FileObject]
    await bed.source.confirm(object, live)
    writeFileSync(bed.path('a'), 'abcdef')
    await assert.rejects(
      bed.source.fill(object, 0, Buffer.alloc(3), live),
      failsWith('source.replaced', /3 bytes were listed, 6/),
    )
    await assert.rejects(bytesOf(bed.source.open(object, 0, live)), failsWith('source.replaced'))
  }))

test('a file that goes away after its last byte was read was read', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'abc')
    const [object] = (await bed.listed()) as [FileObject]
    let reads = 0
    bed.fault = (call) => {
      if (call !== 'read') return
      reads += 1
      if (reads === 1) bed.remove('a')
    }
    assert.equal((await bytesOf(bed.source.open(object, 0, live))).toString(), 'abc')
    await assert.rejects(bed.source.confirm(object, live), failsWith('source.vanished'))
  }))

test('large files come in pieces, whole, from any offset', () =>
  withFiles({}, async (bed) => {
    const body = Buffer.from(Uint8Array.from({ length: 1_400_000 }, (_, i) => (i * 7) % 253))
    bed.put('a', body)
    const [object] = (await bed.listed()) as [FileObject]
    for (const offset of [0, 1, 524_288, 1_399_999]) {
      const pieces: Buffer[] = []
      for await (const piece of bed.source.open(object, offset, live)) pieces.push(piece)
      assert.deepEqual(Buffer.concat(pieces), body.subarray(offset))
      assert.ok(pieces.slice(0, -1).every((piece) => piece.length >= 256 * 1024))
    }
  }))

test('a file is opened once for all its parts, and closed when it is finished', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a', 'b', 'c']) bed.put(name, 'x'.repeat(100))
    for await (const object of bed.source.objects({ soft: never, once: true })) {
      await bed.source.confirm(object, live)
      const parts = [0, 25, 50, 75].map((offset) => bed.source.fill(object, offset, Buffer.alloc(25), live))
      await Promise.all(parts)
      await bed.source.confirm(object, live)
      assert.equal(bed.store.openFiles, 1)
      finish(bed, object)
      await new Promise((resolve) => setImmediate(resolve))
      assert.equal(bed.store.openFiles, 0)
    }
    assert.equal(bed.store.count('open'), 3)
  }))

test('an open that was aborted by one reader does not fail the other', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'abc')
    const [object] = (await bed.listed()) as [FileObject]
    const opened = Promise.withResolvers<void>()
    bed.fault = (call) => (call === 'open' ? opened.promise : undefined)
    const impatient = new AbortController()
    const first = bed.source.fill(object, 0, Buffer.alloc(3), { signal: impatient.signal })
    const into = Buffer.alloc(3)
    const second = bed.source.fill(object, 0, into, live)
    impatient.abort(new Error('enough'))
    await assert.rejects(first, /enough/)
    opened.resolve()
    await second
    assert.equal(into.toString(), 'abc')
  }))

test('confirm sees that the path is another version, though the old one is still open', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a', 'b']) bed.put(name, 'old')
    const [a, b] = (await bed.listed()) as [FileObject, FileObject]
    for (const object of [a, b]) assert.equal(await bed.source.confirm(object, live), 3)
    bed.put('a', 'new')
    bed.remove('b')
    await assert.rejects(
      bed.source.confirm(a, live),
      failsWith('source.replaced', /another version now \(changed at 20/),
    )
    await assert.rejects(bed.source.confirm(b, live), failsWith('source.vanished', /it is gone/))
  }))
