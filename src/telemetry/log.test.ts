import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../config/fields.ts'
import { createLog, type LogOptions } from './log.ts'

function collect(o: Partial<LogOptions>) {
  const lines: string[] = []
  const log = createLog({ level: 'debug', format: 'json', color: false, write: (line) => lines.push(line), ...o })
  return { lines, log }
}

test('json gives one object a line, with the name of the level and an ISO time', () => {
  const { lines, log } = collect({})
  log.info({ objects: 3 }, 'scan')
  const { time, ...entry } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  assert.deepEqual(entry, { level: 'info', objects: 3, msg: 'scan' })
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.ok(lines[0]?.endsWith('}\n'))
})

test('lines below the level are not written', () => {
  for (const format of ['json', 'text'] as const) {
    const { lines, log } = collect({ format, level: 'warn' })
    log.debug({}, 'a')
    log.info({}, 'b')
    log.warn({}, 'c')
    log.error({}, 'd')
    assert.equal(lines.length, 2)
  }
})

test('lines are written before the call returns, also those of children', () => {
  const { lines, log } = collect({ format: 'text' })
  log.child({ pipeline: 'web' }).warn({ objects: 1 }, 'look')
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', /WARN {2}look · pipeline web · 1 objects\n$/)
})

// facts/seeds.md A16.21: secrets in places where others can read them.
test('a secret in the facts is never printed', () => {
  for (const format of ['json', 'text'] as const) {
    const { lines, log } = collect({ format })
    const token = new Secret('hunter2')
    log.error({ token, nested: { token }, list: [token] }, `with ${token}`)
    assert.doesNotMatch(lines.join(''), /hunter2/)
    assert.match(lines.join(''), /\[redacted\]/)
  }
})
