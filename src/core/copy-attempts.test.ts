import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../telemetry/log.ts'
import { CopyAttempts } from './copy-attempts.ts'
import { StreamError } from './errors.ts'

const never = new AbortController().signal
const object = { id: 'b/k@1', bucket: 'b', key: 'k', size: 1, timeMs: 0, lastModifiedMs: 0 }
/** So long that a test which waits for them does not end. */
const waits = { minMs: 3_600_000, maxMs: 3_600_000 }

function attempts() {
  const retried: string[] = []
  const log = createLog({ level: 'error', format: 'text', color: false, write: () => undefined })
  const storeWaits = { ...waits, maxAttempts: 5 }
  return { retried, attempts: new CopyAttempts({ log, readWaits: waits, storeWaits, retried: (s) => retried.push(s) }) }
}

test('a read that ended because nobody waits for it any more is not tried again', async () => {
  const { attempts: steps, retried } = attempts()
  const other = new AbortController()
  const reason = new Error('another part failed')
  let calls = 0
  const reading = steps.read(object, never, other.signal, async () => {
    calls += 1
    other.abort(reason)
    throw new StreamError('run.aborted', 'reading was interrupted')
  })
  await assert.rejects(reading, reason)
  assert.equal(calls, 1)
  assert.deepEqual(retried, [])
})

test('whoever waits before another attempt stops waiting when another part has failed', async () => {
  const reason = new Error('another part failed')
  for (const step of ['read', 'send'] as const) {
    const { attempts: steps, retried } = attempts()
    const other = new AbortController()
    const act = async () => {
      setImmediate(() => other.abort(reason))
      throw new StreamError(step === 'read' ? 'source.unavailable' : 'sink.unavailable', 'not now')
    }
    const trying =
      step === 'read' ? steps.read(object, never, other.signal, act) : steps.store(step, never, other.signal, act)
    await assert.rejects(trying, reason)
    assert.deepEqual(retried, [step])
  }
})

test('a stop ends the waiting too, and is no error', async () => {
  const { attempts: steps } = attempts()
  const soft = new AbortController()
  const act = async () => {
    setImmediate(() => soft.abort())
    throw new StreamError('source.unavailable', 'not now')
  }
  assert.equal(await steps.read(object, soft.signal, never, act), undefined)
  const store = new AbortController()
  const send = async () => {
    setImmediate(() => store.abort())
    throw new StreamError('sink.unavailable', 'not now')
  }
  assert.equal(await steps.store('send', store.signal, never, send), 'stopped')
})
