import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bodyOf, FileTree, MemoryBucket, MemoryObjects } from '../../test/fakes/copy.ts'
import { ledgerIn, newFolder, silent } from '../../test/fakes/pipeline.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { ObjectReport } from './account.ts'
import { Copier } from './copier.ts'
import { StreamError } from './errors.ts'

const never = new AbortController().signal
const down = () => new StreamError('sink.unavailable', 'cannot reach it')
const outcomes = (reports: readonly ObjectReport[]) =>
  Object.fromEntries(reports.map(({ object, outcome }) => [object.key, outcome]))

interface Bed {
  readonly folder: string
  readonly bucket: MemoryBucket
}

/** One run on the ledger in the folder. `prepare` sets faults. */
async function copy(
  { folder, bucket }: Bed,
  files: Readonly<Record<string, Buffer>>,
  o: {
    prepare?: (tree: FileTree, sink: MemoryObjects) => void
    soft?: AbortSignal
    hard?: AbortSignal
    sink?: ConstructorParameters<typeof MemoryObjects>[1]
  } = {},
) {
  await using ledger = ledgerIn(folder)
  const source = new FileTree(ledger, files)
  const sink = new MemoryObjects(bucket, o.sink)
  o.prepare?.(source, sink)
  const reports: ObjectReport[] = []
  const meter = new MemoryMeter()
  const copier = new Copier({
    ...{ source, sink, ledger, log: silent, meter, nowMs: Date.now, saveIntervalMs: 1000 },
    readWaits: { minMs: 1, maxMs: 2 },
    observe: (report) => reports.push(report),
  })
  const running = copier.run({ once: true, soft: o.soft ?? never, hard: o.hard ?? never })
  const totals = await running.catch((error: unknown) => {
    if (o.hard?.aborted) return copier.totals
    throw error
  })
  return { source, sink, reports, totals, copier, entries: ledger.objects(), meter }
}

const bed = (): Bed => ({ folder: newFolder(), bucket: new MemoryBucket() })
const files = { empty: bodyOf(0), one: bodyOf(1), part: bodyOf(100, 3), more: bodyOf(101, 5), many: bodyOf(2345, 7) }

test('every object arrives byte for byte, and is settled once it is there', async () => {
  const place = bed()
  const { totals, source, entries } = await copy(place, files)
  assert.deepEqual(Object.fromEntries(place.bucket.objects), files)
  assert.equal(totals.objects.done, 5)
  assert.equal(totals.bytes, 0 + 1 + 100 + 101 + 2345)
  assert.equal(place.bucket.uploads.size, 0)
  assert.deepEqual(
    source.told.map(({ outcome }) => outcome),
    ['done', 'done', 'done', 'done', 'done'],
  )
  assert.ok(entries.every(({ state, size, counts }) => state === 'done' && counts.bytes === size))
  const again = await copy(place, files)
  assert.equal(again.source.reads, 0)
})

test('C6.2: reads and sends have limits of their own, and a slow sink holds the reads', async () => {
  const place = bed()
  const { source, sink } = await copy(
    place,
    { big: bodyOf(5000) },
    {
      prepare: (tree, slow) => {
        let waiting = 0
        slow.onCall = async (call) => {
          if (call !== 'send') return
          waiting += 1
          await sleep(2)
          waiting -= 1
          assert.ok(tree.reads <= slow.bucket.objects.size * 100 + 50)
          assert.ok(waiting < 3)
        }
      },
    },
  )
  assert.equal(sink.mostSends, 3)
  assert.ok(source.mostReads <= 2, String(source.mostReads))
  assert.deepEqual(place.bucket.objects.get('big'), bodyOf(5000))
})

test('C6.2: what is read and not stored is never more than the buffers', async () => {
  const place = bed()
  let filled = 0
  let stored = 0
  let most = 0
  await copy(
    place,
    { a: bodyOf(3000), b: bodyOf(3000, 1), c: bodyOf(3000, 2) },
    {
      prepare: (tree, sink) => {
        tree.onFill = () => {
          filled += 1
          most = Math.max(most, filled - stored)
        }
        sink.onCall = async (call) => {
          if (call !== 'send') return
          await sleep(1)
          stored += 1
        }
      },
    },
  )
  assert.ok(most <= 5, `${most} parts of 5 buffers`)
})

test('C6.1: a part that fails in passing is stored at last; the object has no hole', async () => {
  const place = bed()
  const failures = new Map<string, number>()
  const fail = (name: string, times: number, error: Error) => {
    const n = (failures.get(name) ?? 0) + 1
    failures.set(name, n)
    if (n <= times) throw error
  }
  const { totals } = await copy(place, files, {
    prepare: (tree, sink) => {
      tree.onFill = (key, offset) => fail(`fill ${key} ${offset}`, 2, new StreamError('source.unavailable', 'cut'))
      sink.onCall = (call, key, part) => {
        if (call !== 'abort') fail(`${call} ${key} ${part}`, 3, down())
      }
    },
  })
  assert.equal(totals.objects.done, 5)
  assert.deepEqual(Object.fromEntries(place.bucket.objects), files)
})

test('C6.1: a part that cannot be stored fails the object: nothing visible, nothing left, told loudly', async () => {
  const place = bed()
  const { reports, totals } = await copy(place, files, {
    prepare: (_, sink) => {
      sink.onCall = (call, key, part) => {
        if (call === 'send' && key === 'many' && part === 7) throw down()
      }
    },
  })
  assert.equal(outcomes(reports).many, 'failed')
  assert.equal(totals.objects.done, 4)
  assert.equal(place.bucket.objects.has('many'), false)
  assert.equal(place.bucket.uploads.size, 0)
  assert.match(reports.find(({ object }) => object.key === 'many')?.reason ?? '', /cannot reach it/)
})

test('an upload that is lost at the server is sent anew, and not for ever', async () => {
  const place = bed()
  let losses = 0
  const lose = (times: number) => (_: FileTree, sink: MemoryObjects) => {
    sink.onCall = (call, key) => {
      if (call !== 'complete' || key !== 'many' || losses === times) return
      losses += 1
      place.bucket.uploads.clear()
      throw new StreamError('sink.unavailable', 'cannot complete: no such upload', { data: { isLost: true } })
    }
  }
  const { totals } = await copy(place, { many: bodyOf(950) }, { prepare: lose(2) })
  assert.equal(totals.objects.done, 1)
  assert.deepEqual(place.bucket.objects.get('many'), bodyOf(950))
  losses = 0
  const { reports } = await copy(place, { many: bodyOf(951) }, { prepare: lose(99) })
  assert.deepEqual([outcomes(reports), losses], [{ many: 'failed' }, 3])
})

test('a sink that refuses some keys is still asked for the others', async () => {
  const place = bed()
  const many = Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [`f${String(i).padStart(2, '0')}`, bodyOf(9, i)]),
  )
  const { totals } = await copy(place, many, {
    prepare: (_, sink) => {
      sink.onCall = (call, key) => {
        if (call === 'open' && key < 'f25') throw new StreamError('sink.access', 'cannot write there: 403')
      }
    },
  })
  assert.deepEqual([totals.objects.failed, totals.objects.done], [25, 5])
})

test('small objects have their turn beside a large one', async () => {
  const place = bed()
  const order: string[] = []
  const small = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`small${i}`, bodyOf(5, i)]))
  await copy(
    place,
    { large: bodyOf(40_000), ...small },
    {
      prepare: (tree, sink) => {
        sink.onCall = (call, key) => {
          if (call === 'send') order.push(key)
        }
        assert.ok(tree)
      },
    },
  )
  const last = order.findLastIndex((key) => key.startsWith('small'))
  assert.ok(last < 200, `the last small one was stored as number ${last} of ${order.length}`)
})

test('a run that is to end does not try every object of many at a sink that is down', async () => {
  const place = bed()
  const many = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`f${String(i).padStart(2, '0')}`, bodyOf(10, i)]),
  )
  let calls = 0
  const isDown = (_: FileTree, sink: MemoryObjects) => {
    sink.onCall = () => {
      calls += 1
      throw down()
    }
  }
  await assert.rejects(copy(place, many, { prepare: isDown }), /cannot reach it/)
  assert.ok(calls < 4 * 20, `${calls} calls`)
  const { totals } = await copy(place, many)
  assert.equal(totals.objects.done, 50)
})

test('an object that the sink refuses for good goes to quarantine', async () => {
  const place = bed()
  const { reports, source } = await copy(
    place,
    { a: bodyOf(10), b: bodyOf(10, 1) },
    {
      prepare: (_, sink) => {
        sink.onCall = (call, key) => {
          if (call === 'complete' && key === 'a') throw new StreamError('sink.rejected', 'cannot store a: no')
        }
      },
    },
  )
  assert.deepEqual(outcomes(reports), { a: 'quarantined', b: 'done' })
  assert.deepEqual(source.told.find(({ key }) => key === 'a')?.outcome, 'quarantined')
})

test('C6.4: an object that changes while it is read is never completed', async () => {
  const place = bed()
  const { reports } = await copy(
    place,
    { a: bodyOf(1000) },
    {
      prepare: (tree) => {
        tree.onFill = (_, offset) => {
          if (offset === 900) tree.files.set('a', bodyOf(1000, 9))
        }
      },
    },
  )
  assert.deepEqual(outcomes(reports), { a: 'replaced' })
  assert.equal(place.bucket.objects.size, 0)
  assert.equal(place.bucket.uploads.size, 0)
  await copy(place, { a: bodyOf(1000, 9) })
  assert.deepEqual(place.bucket.objects.get('a'), bodyOf(1000, 9))
})

test('an object that was listed with a wrong size, and is not told as changed, is not copied short', async () => {
  const place = bed()
  for (const [listed, real] of [
    [0, 40],
    [60, 90],
  ]) {
    const { reports } = await copy(
      place,
      { a: bodyOf(listed as number) },
      {
        prepare: (tree) => {
          tree.confirm = async () => real as number
        },
      },
    )
    assert.deepEqual(outcomes(reports), { a: 'failed' })
    assert.match(reports[0]?.reason ?? '', /bytes were listed, and it has/)
  }
  assert.equal(place.bucket.objects.size, 0)
  assert.equal(place.bucket.uploads.size, 0)
})

test('an object that vanishes, or shrinks, is told as that, and nothing of it appears', async () => {
  const place = bed()
  const { reports } = await copy(
    place,
    { gone: bodyOf(500), shrunk: bodyOf(500, 2) },
    {
      prepare: (tree) => {
        tree.onFill = (key, offset) => {
          if (offset < 300) return
          if (key === 'gone') tree.files.delete('gone')
          else tree.files.set('shrunk', bodyOf(200, 2))
        }
      },
    },
  )
  assert.deepEqual(outcomes(reports), { gone: 'vanished', shrunk: 'replaced' })
  assert.equal(place.bucket.objects.size, 0)
  assert.equal(place.bucket.uploads.size, 0)
})

test('C6.3: a source that says it is longer than it is fails, and is not copied short', async () => {
  const place = bed()
  const { reports } = await copy(
    place,
    { a: bodyOf(500) },
    {
      prepare: (tree) => {
        tree.onFill = (_, offset) => {
          if (offset === 400)
            throw new StreamError('source.short_body', 'cannot read a: it ends after 450 of 500 bytes')
        }
      },
    },
  )
  assert.deepEqual(outcomes(reports), { a: 'failed' })
  assert.equal(place.bucket.objects.size, 0)
})

test('C6.6: a source that is gone for long leaves the upload, and the next run sends only what is missing', async () => {
  const place = bed()
  const body = bodyOf(1000)
  const first = await copy(
    place,
    { a: body },
    {
      prepare: (tree) => {
        tree.onFill = (_, offset) => {
          if (offset >= 500) throw new StreamError('source.unavailable', 'cannot reach the server')
        }
      },
    },
  )
  assert.deepEqual(outcomes(first.reports), { a: 'failed' })
  const stored = place.bucket.uploads.get([...place.bucket.uploads.keys()][0] ?? '')?.parts.size ?? 0
  assert.ok(stored > 0)
  const second = await copy(place, { a: body })
  assert.equal(second.source.reads, 10 - stored)
  assert.deepEqual(place.bucket.objects.get('a'), body)
  assert.equal(second.meter.snapshot().find(({ name }) => name === 'transfer_resumed_bytes_total')?.value, stored * 100)
})

test('a soft stop ends what is under way, keeps it, and the next run goes on', async () => {
  const place = bed()
  const stop = new AbortController()
  const body = bodyOf(3000)
  const first = await copy(
    place,
    { a: body, b: bodyOf(50) },
    {
      soft: stop.signal,
      prepare: (_, sink) => {
        sink.onCall = (call, key, part) => {
          if (call === 'send' && key === 'a' && part === 5) stop.abort(new Error('SIGTERM'))
        }
      },
    },
  )
  assert.equal(outcomes(first.reports).a, 'stopped')
  assert.equal(place.bucket.objects.has('a'), false)
  assert.equal(place.bucket.uploads.size, 1)
  const second = await copy(place, { a: body, b: bodyOf(50) })
  assert.ok(second.source.reads < 30)
  assert.deepEqual(place.bucket.objects.get('a'), body)
  assert.equal(place.bucket.uploads.size, 0)
})

test('a hard stop ends at once and settles nothing', async () => {
  const place = bed()
  const hard = new AbortController()
  const { entries, source } = await copy(
    place,
    { a: bodyOf(3000) },
    {
      hard: hard.signal,
      prepare: (_, sink) => {
        sink.onCall = async (call, _key, part, { signal }) => {
          if (call !== 'send' || part !== 3) return
          setImmediate(() => hard.abort(new Error('second signal')))
          await sleep(60_000, undefined, { signal })
        }
      },
    },
  )
  assert.deepEqual(
    entries.map(({ state }) => state),
    ['active'],
  )
  assert.deepEqual(source.told, [])
  await copy(place, { a: bodyOf(3000) })
  assert.deepEqual(place.bucket.objects.get('a'), bodyOf(3000))
})

test('something that is there already is left alone if that is wanted', async () => {
  const place = bed()
  place.bucket.objects.set('a', Buffer.from('theirs'))
  const { totals, source } = await copy(
    place,
    { a: bodyOf(300) },
    {
      prepare: (_, sink) => {
        sink.exists = 'skip'
      },
    },
  )
  assert.equal(totals.objects.done, 1)
  assert.equal(totals.bytes, 0)
  assert.equal(source.reads, 0)
  assert.equal(place.bucket.objects.get('a')?.toString(), 'theirs')
})

test('something that came there meanwhile is left alone, and does not count as copied', async () => {
  for (const size of [50, 300]) {
    const place = bed()
    const { totals, meter } = await copy(
      place,
      { a: bodyOf(size) },
      {
        prepare: (_, sink) => {
          sink.exists = 'skip'
          sink.onCall = (call) => {
            if (call === 'send') place.bucket.objects.set('a', Buffer.from('theirs'))
          }
        },
      },
    )
    assert.deepEqual([totals.objects.done, totals.bytes], [1, 0])
    const files = meter
      .snapshot()
      .find(({ name, labels }) => name === 'transfer_files_total' && labels.outcome === 'skipped')
    assert.equal(files?.value, 1)
    assert.equal(place.bucket.objects.get('a')?.toString(), 'theirs')
  }
})

test('an abort that fails does not hide why the object failed', async () => {
  const place = bed()
  const { reports } = await copy(
    place,
    { a: bodyOf(300) },
    {
      prepare: (_, sink) => {
        sink.onCall = (call) => {
          if (call === 'complete') throw down()
          if (call === 'abort') throw new StreamError('sink.unavailable', 'cannot abort')
        }
      },
    },
  )
  assert.match(reports[0]?.reason ?? '', /cannot reach it/)
  assert.equal(place.bucket.uploads.size, 1)
})

test('a bug in the sink stops the whole copy', async () => {
  const place = bed()
  await assert.rejects(
    copy(place, files, {
      prepare: (_, sink) => {
        sink.onCall = (call, key) => {
          if (call === 'open' && key === 'one') throw new StreamError('core.unbalanced', 'never')
        }
      },
    }),
    /never/,
  )
})

test('progress tells what is under way, part by part', async () => {
  const place = bed()
  const seen: number[] = []
  let copier: Copier | undefined
  await using ledger = ledgerIn(place.folder)
  const source = new FileTree(ledger, { a: bodyOf(1000) })
  const sink = new MemoryObjects(place.bucket)
  sink.onCall = (call) => {
    if (call === 'send') for (const { bytes } of copier?.underWay ?? []) seen.push(bytes)
  }
  const meter = new MemoryMeter()
  copier = new Copier({ source, sink, ledger, log: silent, meter, nowMs: Date.now, saveIntervalMs: 1000 })
  await copier.run({ once: true, soft: never, hard: never })
  assert.deepEqual(
    seen.toSorted((a, b) => a - b),
    seen,
  )
  assert.ok((seen.at(-1) ?? 0) >= 500)
  assert.deepEqual([...copier.underWay], [])
  const parts = meter.snapshot().find(({ name }) => name === 'transfer_parts_total')
  assert.equal(parts?.value, 10)
})
