/** What every source must hold of looking at it: one object, its checks, its findings, what waits. Called by the suite of sources. */
import assert from 'node:assert/strict'
import { StreamError } from '../../src/core/errors.ts'
import {
  bytesOf,
  collected,
  drain,
  failsWith,
  finish,
  keysOf,
  live,
  never,
  type Run,
  scanOnce,
} from './source-harness.ts'

export function seenConformance(run: Run, bodies: ReadonlyMap<string, Buffer>): void {
  run('an object is found by its key', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    const found = await source.find('a', { ...live, bucket: 'b' })
    const [listed] = await scanOnce(source)
    assert.deepEqual([found.id, found.size], [listed?.id, 1])
    await assert.rejects(source.find('none', { ...live, bucket: 'b' }), failsWith('source.vanished'))
  })

  run('check changes nothing', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source, ledger } = await harness.start()
    const before = harness.content()
    await source.check(live)
    assert.deepEqual(harness.content(), before)
    assert.deepEqual(ledger.objects(), [])
    assert.deepEqual(keysOf(await scanOnce(source)), ['a'])
  })

  run('check says what the operator must change', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    harness.deny()
    await assert.rejects(source.check(live), (error) => {
      assert.ok(error instanceof StreamError && error.kind === 'config', String(error))
      assert.match(error.message, /^cannot \w+ .*:.*\(.+\)$/)
      return true
    })
  })

  run('examine tells what is there and changes nothing', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source, ledger } = await harness.start()
    const before = harness.content()
    const findings = await collected(source.examine(live))
    assert.deepEqual(
      findings.filter(({ level }) => level === 'problem'),
      [],
    )
    assert.ok(findings.some(({ level }) => level === 'ok'))
    assert.deepEqual(harness.content(), before)
    assert.deepEqual(ledger.objects(), [])
    assert.deepEqual(keysOf(await scanOnce(source)), ['a'])
  })

  run('examine tells what the operator must change, and throws nothing but an abort', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    harness.deny()
    const problems = (await collected(source.examine(live))).filter(({ level }) => level === 'problem')
    assert.ok(problems.length > 0)
    for (const { text, advice } of problems) assert.ok(text !== '' && advice, text)
    const stopped = AbortSignal.abort(new Error('stop'))
    await assert.rejects(collected(source.examine({ signal: stopped })))
  })

  run(
    'what it depends on is unused, up, then failing, as its use shows; a probe changes nothing of that',
    async (harness) => {
      harness.put('a', Buffer.from('x'))
      const started = await harness.start()
      const { source } = started
      const states = () => source.dependencies.map(({ state }) => state)
      const names = source.dependencies.map(({ name }) => name)
      assert.ok(names.length > 0 && new Set(names).size === names.length)
      for (const dependency of source.dependencies) await dependency.probe(live)
      assert.ok(
        states().every((state) => state === 'unused'),
        String(states()),
      )
      for (const object of await scanOnce(source)) {
        await bytesOf(source.open(object, 0, live))
        finish(started, object)
      }
      assert.ok(
        states().every((state) => state === 'up'),
        String(states()),
      )
      // What it still has to say to the store is said.
      await harness.later()
      harness.deny()
      const soft = new AbortController()
      const scanning = drain(source.objects({ soft: soft.signal, hard: never, once: false }))
      while (states().every((state) => state === 'up')) await new Promise((resolve) => setTimeout(resolve, 2))
      const [failing] = source.dependencies.filter(({ state }) => state === 'failing')
      assert.match(failing?.error ?? '', /^cannot \w+ .*:/)
      assert.ok((failing?.sinceMs ?? 0) > 0)
      soft.abort(new Error('stop'))
      await scanning
    },
  )

  run('the oldest that waits to be given out is known, and nothing waits when all was given', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const { source } = await harness.start()
    assert.equal(source.oldestWaitingMs, undefined)
    const objects = source.objects({ soft: never, hard: never, once: true })
    const waited: Array<number | undefined> = []
    const times: number[] = []
    for await (const { timeMs } of objects) {
      times.push(timeMs)
      waited.push(source.oldestWaitingMs)
    }
    assert.ok(waited.some((ms) => ms !== undefined && times.includes(ms)))
    assert.equal(waited.at(-1), undefined)
    assert.equal(source.oldestWaitingMs, undefined)
  })
}
