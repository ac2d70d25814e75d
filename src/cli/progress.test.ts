import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { Source } from '../core/component.ts'
import type { Pipeline } from '../core/pipeline.ts'
import { Progress } from './progress.ts'

function follow(progress: Progress, o: { settled: number; found: number; complete: boolean }): void {
  const objects = { done: o.settled, quarantined: 0, vanished: 0, replaced: 0, failed: 0, stopped: 0 }
  const totals = { objects, read: 0, delivered: 6554, filtered: 0, quarantined: 0, bytes: 10_000_000 }
  const source = { progress: { found: o.found, complete: o.complete } }
  progress.follow({ totals } as Pipeline, source as Source)
}

test('the bar shows settled of found objects and makes room for log lines', () => {
  mock.timers.enable({ apis: ['setInterval', 'Date'] })
  try {
    const written: string[] = []
    const progress = new Progress((text) => written.push(text))
    follow(progress, { settled: 3, found: 12, complete: false })
    progress.clear()
    assert.deepEqual(written, [], 'nothing to take away yet')
    mock.timers.tick(1000)
    const bar = written.at(-1) ?? ''
    assert.ok(bar.includes(`${'█'.repeat(6)}${'░'.repeat(18)} 3/12+ objects  6,554 records  10.0 MB  `), bar)
    assert.ok(bar.startsWith('\r\u001b[?7l') && bar.endsWith('\u001b[?7h'), 'never wraps')
    progress.clear()
    assert.equal(written.at(-1), '\r\u001b[K')
    progress.restore()
    assert.match(String(written.at(-1)), /3\/12\+ objects/)
    progress.end()
    const length = written.length
    assert.equal(written.at(-1), '\r\u001b[K')
    mock.timers.tick(1000)
    progress.restore()
    assert.equal(written.length, length, 'gone for good')
  } finally {
    mock.timers.reset()
  }
})
