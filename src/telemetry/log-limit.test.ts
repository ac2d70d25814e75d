import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { createLog } from './log.ts'
import { RepeatLimit } from './log-limit.ts'

interface Entry {
  readonly level: string
  readonly msg: string
  readonly pipeline?: string
  readonly key?: string
  readonly repeated?: number
}

/** A log with the limit, and a minute that passes when it is told to. */
function limited(level: 'debug' | 'error' = 'debug') {
  mock.timers.enable({ apis: ['setInterval'] })
  const limit = new RepeatLimit()
  const entries: Entry[] = []
  const counts = { warn: 0, error: 0 }
  const options = {
    level,
    format: 'json' as const,
    color: false,
    write: (line: string) => void entries.push(JSON.parse(line) as Entry),
    count: (name: 'warn' | 'error') => {
      counts[name] += 1
    },
    limit,
  }
  const log = createLog(options)
  return {
    ...{ log, limit, entries, counts, options },
    minute: () => mock.timers.tick(60_000),
    [Symbol.dispose]() {
      limit[Symbol.dispose]()
      mock.timers.reset()
    },
  }
}

const texts = (entries: readonly Entry[]) => entries.map(({ msg }) => msg)

test('five of a warning are written in a minute, then one line with how many more, and the facts of the last', () => {
  using bed = limited()
  for (let n = 1; n <= 1239; n += 1) bed.log.warn({ key: `k${n}` }, 'cannot read it')
  assert.equal(bed.entries.length, 5)
  bed.minute()
  assert.deepEqual(texts(bed.entries.slice(5)), [
    'cannot read it (repeated 1,234 times in the last minute; this is the last)',
  ])
  const { level, key, repeated } = bed.entries[5] ?? {}
  assert.deepEqual({ level, key, repeated }, { level: 'warn', key: 'k1239', repeated: 1234 })
  bed.minute()
  assert.equal(bed.entries.length, 6)
  bed.log.warn({ key: 'again' }, 'cannot read it')
  assert.equal(bed.entries.length, 7)
  assert.deepEqual(bed.counts, { warn: 1240, error: 0 })
})

test('levels, pipelines and texts are told apart; info and debug are never held back', () => {
  using bed = limited()
  const one = bed.log.child({ pipeline: 'one' })
  const two = bed.log.child({ pipeline: 'two' })
  for (let n = 0; n < 5; n += 1) {
    one.warn({}, 'a')
    two.warn({}, 'a')
    one.error({}, 'a')
    one.warn({}, 'b')
  }
  for (let n = 0; n < 20; n += 1) {
    one.info({}, 'scan')
    one.debug({}, 'object')
  }
  assert.equal(bed.entries.length, 60)
  one.warn({}, 'a')
  assert.equal(bed.entries.length, 60)
  bed.minute()
  assert.deepEqual(
    bed.entries.slice(60).map(({ msg, pipeline }) => [msg, pipeline]),
    [['a (repeated once in the last minute; this is the last)', 'one']],
  )
})

test('what is held back is told at the end', () => {
  using bed = limited()
  for (let n = 0; n < 7; n += 1) bed.log.error({}, 'no')
  bed.limit.flush()
  assert.equal(bed.entries.at(-1)?.repeated, 2)
  bed.limit.flush()
  assert.equal(bed.entries.length, 6)
})

test('ten thousand different texts take no more memory than a thousand, and all of them are counted', () => {
  using bed = limited()
  for (let n = 0; n < 10_000; n += 1) bed.log.warn({}, `cannot read object ${n}`)
  assert.equal(bed.entries.length, 1005)
  bed.minute()
  const { msg, repeated } = bed.entries.at(-1) ?? {}
  assert.equal(repeated, 8995)
  assert.match(msg ?? '', /^cannot read object 9999 \(repeated 8,995 times/)
})

test('warnings below the level are counted, and are not told when a minute ends', () => {
  using bed = limited('error')
  for (let n = 0; n < 9; n += 1) bed.log.warn({}, 'slow')
  bed.minute()
  assert.deepEqual([bed.entries.length, bed.counts.warn], [0, 9])
})

test('a level that is changed holds for the children there are', () => {
  const lines: string[] = []
  const options: { level: 'debug' | 'warn'; format: 'json'; color: boolean; write: (line: string) => void } = {
    level: 'warn',
    format: 'json',
    color: false,
    write: (line) => void lines.push(line),
  }
  const child = createLog(options).child({ pipeline: 'web' })
  child.debug({}, 'one')
  options.level = 'debug'
  child.debug({}, 'two')
  options.level = 'warn'
  child.info({}, 'three')
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', /"pipeline":"web","msg":"two"/)
})
