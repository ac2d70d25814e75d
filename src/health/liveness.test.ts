import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventLoopWatch } from './liveness.ts'

test('a busy event loop is seen, while it is and in the second after', async () => {
  using watch = new EventLoopWatch(20)
  assert.equal(watch.look().status, 'alive')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 80)
  assert.ok(watch.look().eventLoopDelaySeconds >= 0.05)
  // The next turn is that of the timer.
  await new Promise((resolve) => setTimeout(resolve, 0))
  assert.ok(watch.look().eventLoopDelaySeconds >= 0.05)
})
