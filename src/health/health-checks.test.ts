import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Dependency, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { HealthChecks, type HealthLimits, healthLimits } from './health-checks.ts'

function dependency(name: string, more: Partial<Dependency> = {}): Dependency & { probes: number } {
  return {
    name,
    state: 'unused',
    sinceMs: 0,
    error: undefined,
    probes: 0,
    async probe(this: { probes: number }) {
      this.probes += 1
    },
    ...more,
  }
}

function bench(more: Partial<HealthLimits> = {}) {
  const clock = { ms: 1_000_000 }
  const checks = new HealthChecks({ ...healthLimits, nowMs: () => clock.ms, ...more })
  const ask = async (...dependencies: Dependency[]) => {
    const entries = await checks.check(dependencies.map((one) => ({ pipeline: 'web', dependency: one })))
    return entries.map(({ error }) => error)
  }
  return { clock, checks, ask }
}

const refuse = async () => {
  throw new StreamError('source.access', 'cannot reach bucket logs: 403')
}

test('what nobody has used yet is probed, and the answer is good for ten seconds', async () => {
  const { clock, checks, ask } = bench()
  using _ = checks
  const s3 = dependency('s3')
  assert.deepEqual(await ask(s3), [undefined])
  clock.ms += 9_999
  assert.deepEqual(await ask(s3), [undefined])
  assert.equal(s3.probes, 1)
  clock.ms += 1
  await ask(s3)
  assert.equal(s3.probes, 2)
})

test('what answered in use a moment ago is asked nothing', async () => {
  const { clock, checks, ask } = bench()
  using _ = checks
  const s3 = dependency('s3', { state: 'up', sinceMs: 5, answeredMs: clock.ms - 9_000, probe: refuse })
  assert.deepEqual(await ask(s3), [undefined])
  clock.ms += 1_000
  assert.deepEqual(await ask(s3), ['cannot reach bucket logs: 403'])
})

test('what fails in use is not well, although a probe would say so', async () => {
  const { clock, checks, ask } = bench()
  using _ = checks
  const state = { state: 'failing', error: 'cannot send: 503', sinceMs: 5 } as const
  const old = dependency('http a', { ...state, failedMs: clock.ms - 300_000 })
  const fresh = dependency('http b', { ...state, failedMs: clock.ms - 1_000 })
  const silent = dependency('http c', state)
  assert.deepEqual(await ask(old, fresh, silent), [undefined, 'cannot send: 503', 'cannot send: 503'])
  assert.deepEqual([old.probes, fresh.probes, silent.probes], [1, 0, 0])
})

test('A9: checks run side by side, so one that hangs takes no time from the others', async () => {
  const { checks, ask } = bench({ probeMs: 50 })
  using _ = checks
  const deaf = dependency('deaf', { probe: () => new Promise(() => undefined) })
  const slow = dependency('slow', {
    probe: async ({ signal }: Signal) => {
      const { promise, reject } = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => reject(signal.reason))
      await promise
    },
  })
  const well = dependency('well')
  assert.deepEqual(await ask(deaf, slow, well), ['no answer within 0.05 s', 'no answer within 0.05 s', undefined])
})

test('at most one probe of a dependency is under way, however often one asks and however long it hangs', async () => {
  const { checks, ask, clock } = bench({ probeMs: 20 })
  using _ = checks
  const { promise, resolve } = Promise.withResolvers<void>()
  let begun = 0
  const deaf = dependency('deaf', {
    probe: () => {
      begun += 1
      return promise
    },
  })
  const answers = await Promise.all([ask(deaf), ask(deaf), ask(deaf)])
  assert.deepEqual(answers.flat(), Array(3).fill('no answer within 0.02 s'))
  clock.ms += 60_000
  await ask(deaf)
  assert.equal(begun, 1)
  resolve()
  await promise
  clock.ms += 60_000
  assert.deepEqual(await ask(deaf), [undefined])
})

test('A9: two dependencies of one name are two entries', async () => {
  const { checks, ask } = bench()
  using _ = checks
  assert.deepEqual(await ask(dependency('http'), dependency('http', { probe: refuse })), [
    undefined,
    'cannot reach bucket logs: 403',
  ])
})

test('a probe that throws before its first await is an answer, too', async () => {
  const { checks, ask } = bench()
  using _ = checks
  const odd = dependency('odd', {
    probe: () => {
      throw new Error('odd')
    },
  })
  assert.deepEqual(await ask(odd), ['odd'])
})

test('closing gives up the probes that are under way', async () => {
  const { checks, ask } = bench()
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  const slow = dependency('slow', {
    probe: ({ signal }: Signal) => {
      signal.addEventListener('abort', () => resolve())
      return new Promise(() => undefined)
    },
  })
  const asked = ask(slow)
  checks[Symbol.dispose]()
  await aborted
  assert.equal((await asked).length, 1)
})
