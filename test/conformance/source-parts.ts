/** What every source must hold of parts of objects, which copies ask for. Called by the suite of sources. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { ListedObject, ObjectPart } from '../../src/core/component.ts'
import { failsWith, live, nameOf, type Run, scanOnce } from './source-harness.ts'

/** Parts of the sizes given, over and over, up to the end. */
function partsOf(total: number, sizes: readonly number[]): ObjectPart[] {
  const parts: ObjectPart[] = []
  for (let offset = 0; offset < total; ) {
    const bytes = Math.min(sizes[parts.length % sizes.length] as number, total - offset)
    parts.push({ number: parts.length + 1, offset, bytes })
    offset += bytes
  }
  return parts
}

export function partsConformance(run: Run): void {
  run('confirm gives the size, and a copy learns that the object was replaced or is gone', async (harness) => {
    for (const name of ['a', 'b', 'c']) harness.put(name, Buffer.from('old'))
    const { source } = await harness.start()
    const [first, second, third] = (await scanOnce(source)).toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    assert.ok(first && second && third)
    for (const object of [first, second, third, first]) assert.equal(await source.confirm(object, live), 3)
    harness.put('a', Buffer.from('new'))
    harness.remove('b')
    // Where reading is pinned to the version, there is no need to ask: it is the reading that fails.
    const copy = async (object: ListedObject) => {
      await source.confirm(object, live)
      await source.fill(object, 0, Buffer.alloc(3), live)
    }
    await assert.rejects(copy(first), failsWith('source.replaced'))
    await assert.rejects(copy(second), failsWith('source.vanished'))
    assert.equal(await source.confirm(third, live), 3)
  })

  run('parts of any sizes, read at the same time, are the bytes of the object', async (harness) => {
    const body = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 31) % 251))
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    assert.equal(await source.confirm(object, live), body.length)
    const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(sizes, async (given) => {
        const read = Buffer.alloc(body.length, 0xff)
        const fills = partsOf(body.length, given).map(({ offset, bytes }) =>
          source.fill(object, offset, read.subarray(offset, offset + bytes), live),
        )
        await Promise.all(fills)
        assert.deepEqual(read, body)
      }),
      { numRuns: 15 },
    )
    assert.equal(await source.confirm(object, live), body.length)
  })

  run('an empty object has one part, which is empty', async (harness) => {
    harness.put('empty', Buffer.alloc(0))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    assert.equal(await source.confirm(object, live), 0)
    await source.fill(object, 0, Buffer.alloc(0), live)
  })

  run('a part that reaches beyond the end is refused, never filled short', async (harness) => {
    harness.put('a', Buffer.from('0123456789'))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    await assert.rejects(source.fill(object, 8, Buffer.alloc(5), live), failsWith('source.short_body'))
    const into = Buffer.alloc(2)
    await source.fill(object, 8, into, live)
    assert.equal(into.toString(), '89')
  })

  run('parts of an object that was replaced are never taken for it', async (harness) => {
    harness.put('a', Buffer.from('old and long'))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    const into = Buffer.alloc(6)
    await source.fill(object, 0, into, live)
    harness.put('a', Buffer.from('NEW AND LONG'))
    const rest = Buffer.alloc(6)
    const refused = await source.fill(object, 6, rest, live).catch((error: unknown) => error)
    // The version that was listed may still be read, where it is still open; the other must not be.
    if (refused === undefined) await assert.rejects(source.confirm(object, live), failsWith('source.replaced'))
    else assert.ok(failsWith('source.replaced')(refused), String(refused))
  })

  run('a hard stop while a part is read ends it with a throw', async (harness) => {
    const body = Buffer.alloc(3 * 2 ** 20, 'x')
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    harness.stall('reads')
    const hard = new AbortController()
    setTimeout(() => hard.abort(new Error('stop')), 50)
    await assert.rejects(source.fill(object, 0, Buffer.alloc(body.length), { signal: hard.signal }))
    await assert.rejects(source.fill(object, 0, Buffer.alloc(body.length), { signal: hard.signal }))
  })
}
