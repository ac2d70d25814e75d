import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcomeOf } from './copy-result.ts'
import { errorKinds, StreamError } from './errors.ts'

test('only what can never be copied goes to quarantine; all else is tried again, or is another object by now', () => {
  for (const [code, kind] of Object.entries(errorKinds)) {
    const outcome = outcomeOf(new StreamError(code as keyof typeof errorKinds, 'x'))
    if (code === 'source.replaced') assert.equal(outcome, 'replaced')
    else if (code === 'source.vanished') assert.equal(outcome, 'vanished')
    else assert.equal(outcome, kind === 'permanent' || kind === 'too_large' ? 'quarantined' : 'failed', code)
  }
  assert.equal(outcomeOf(undefined), 'failed')
})
