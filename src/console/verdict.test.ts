import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeOperations, pipelineSnapshot } from '../../test/fakes/operations.ts'
import type { DependencySnapshot, PipelineSnapshot, Snapshot } from './snapshot.ts'
import { verdict } from './verdict.ts'

const sound = pipelineSnapshot('web', {
  ledger: { bytes: 4096, savedMs: 0, error: undefined, failed: 0, quarantine: 0 },
  counts: { read: 1234, delivered: 1200, filtered: 30, quarantined: 4, bytes: 1 },
})

function judge(change: Partial<PipelineSnapshot>, whole: Partial<Snapshot> = {}) {
  return verdict({ ...new FakeOperations().snapshot(), pipelines: [{ ...sound, ...change }], ...whole })
}

const dependency = (of: 'source' | 'sink', name: string, state: DependencySnapshot['state']): DependencySnapshot => {
  return { of, name, state, sinceMs: 0, error: state === 'up' ? undefined : `${name} is out` }
}

test('all is well if every record is accounted for', () => {
  const { level, title, detail, findings } = judge({})
  assert.deepEqual(
    [level, title, detail, findings.length],
    ['well', 'All well', '1,234 records read, all accounted for.', 0],
  )
})

test('a record that is in no count is a problem, and so is one that is in two', () => {
  const missing = judge({ counts: { ...sound.counts, read: 1236 } })
  assert.deepEqual([missing.level, missing.title], ['bad', '1 problem'])
  assert.match(missing.findings[0]?.text ?? '', /2 records missing/)
  assert.match(missing.detail, /1,236 records read, 2 of them unaccounted for/)
  assert.match(judge({ counts: { ...sound.counts, read: 1233 } }).findings[0]?.text ?? '', /1 record too many/)
})

test('an endpoint whose part others take is a warning; the last one, or any server of the source, is a problem', () => {
  const two = (a: DependencySnapshot['state'], b: DependencySnapshot['state'], of: 'source' | 'sink' = 'sink') =>
    judge({ dependencies: [dependency(of, 'one', a), dependency(of, 'two', b)] })
  assert.deepEqual([two('failing', 'up').level, two('failing', 'up').title], ['warn', '1 warning, nothing lost'])
  assert.equal(two('failing', 'failing').level, 'bad')
  assert.equal(two('failing', 'failing').findings.length, 1)
  assert.equal(two('paused', 'up').level, 'warn')
  // One that refuses us takes nobody's part.
  assert.equal(two('failing', 'paused').level, 'bad')
  assert.equal(judge({ dependencies: [dependency('sink', 'one', 'paused')] }).level, 'bad')
  assert.equal(two('unused', 'unused').level, 'well')
  assert.equal(two('failing', 'up', 'source').level, 'bad')
  assert.equal(two('failing', 'up', 'source').findings[0]?.reason, 'one is out')
})

test('the worst comes first, whatever it is of', () => {
  const { level, title, findings } = judge(
    {
      state: 'failed',
      error: 'no such bucket',
      lagSeconds: 7200,
      ledger: { ...sound.ledger, error: 'disk is full', quarantine: 3, failed: 1 },
    },
    {
      config: {
        file: 'c.yaml',
        loadedMs: 0,
        reload: { atMs: 0, ok: false, problems: ['c.yaml:1: bad'], started: [], stopped: [], restarted: [], kept: [] },
      },
    },
  )
  assert.deepEqual([level, title], ['bad', '2 problems, 3 warnings'])
  assert.deepEqual(
    findings.map(({ level }) => level),
    ['bad', 'bad', 'warn', 'warn', 'warn', 'note'],
  )
  assert.deepEqual(findings.map(({ about }) => about).sort(), [
    'config',
    'pipeline',
    'pipeline',
    'pipeline',
    'pipeline',
    'quarantine',
  ])
})

test('to be behind, to start or to have no pipeline is no fault', () => {
  assert.deepEqual(judge({ lagSeconds: 90_000 }).level, 'well')
  assert.match(judge({ lagSeconds: 90_000 }).findings[0]?.text ?? '', /up to 25 hours old/)
  assert.equal(judge({ state: 'starting' }, { state: 'starting' }).title, 'Starting')
  assert.equal(judge({}, { pipelines: [] }).title, 'No pipeline')
})

test('copies are counted in objects, and need no balance', () => {
  const { level, detail } = judge({ sends: 'objects', counts: { ...sound.counts, read: 99 } })
  assert.deepEqual([level, detail], ['well', '1 object copied.'])
})
