import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig } from '../config/load.ts'
import { registry } from '../registry.ts'
import { marksOf, planPipelines } from './reload-plan.ts'

function load(pipelines: string, more = '') {
  return loadConfig(`pipelines:\n${pipelines}${more}`, { file: 'config.yaml', env: {}, registry })
}
const pipeline = (name: string, own = '') =>
  `  - { name: ${name}, source: { type: directory, path: /in${own} }, sink: { type: stdout } }\n`

function plan(before: string, next: string, running: readonly string[]) {
  const [a, b] = [load(before), load(next)]
  const { kept, stopped, restarted, started } = planPipelines(
    b,
    { before: marksOf(a), next: marksOf(b) },
    new Set(running),
  )
  const names = (configs: ReadonlyArray<{ readonly name: string }>) => configs.map(({ name }) => name)
  return { kept, stopped, restarted: names(restarted), started: names(started) }
}

test('only what differs is touched', () => {
  const before = pipeline('a') + pipeline('b') + pipeline('c')
  const next = pipeline('d') + pipeline('b', ', workers: 3') + pipeline('a')
  assert.deepEqual(plan(before, next, ['a', 'b', 'c']), {
    kept: ['a'],
    stopped: ['c'],
    restarted: ['b'],
    started: ['d'],
  })
})

test('a pipeline that does not run is started again, though its configuration is the same', () => {
  const same = pipeline('a') + pipeline('b')
  assert.deepEqual(plan(same, same, ['a']), { kept: ['a'], stopped: [], restarted: [], started: ['b'] })
})

test('sections of the whole file have marks of their own', () => {
  const plain = marksOf(load(pipeline('a')))
  const exported = marksOf(load(pipeline('a'), 'otlp: { enabled: true }\n'))
  assert.notEqual(plain.otlp, exported.otlp)
  assert.equal(plain.server, exported.server)
  assert.deepEqual(plain.pipelines, exported.pipelines)
  const token = (word: string) => marksOf(load(pipeline('a'), `console: { token: ${word.repeat(20)} }\n`)).server
  assert.notEqual(token('a'), token('b'))
})
