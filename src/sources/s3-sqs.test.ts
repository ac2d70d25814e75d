import { sourceConformance } from '../../test/conformance/source.ts'
import type { SourceHarness } from '../../test/conformance/source-harness.ts'
import { type Consumer, openBed, type SqsBed, until } from '../../test/servers/s3-sqs-bed.ts'
import type { Source } from '../core/component.ts'

/**
 * A run that ends by itself does so when the queue is empty and all it gave out is finished. The suite finishes when it
 * likes: so it gets a run that goes on, ended when nothing is visible and a long poll waits.
 */
function untilQuiet(bed: SqsBed, source: Source, waitMs: number): Source['objects'] {
  return async function* (o) {
    const quiet = new AbortController()
    const soft = o.once ? AbortSignal.any([o.soft, quiet.signal]) : o.soft
    const objects = source.objects({ ...o, soft, once: false })[Symbol.asyncIterator]()
    try {
      for (;;) {
        let isSettled = false
        const next = objects.next().finally(() => {
          isSettled = true
        })
        // What is in the buffer comes within this turn.
        await new Promise((resolve) => setImmediate(resolve))
        if (o.once) await until(() => isSettled || (bed.sqs.waiting === 1 && bed.visible === 0) || soft.aborted)
        if (o.once && !isSettled) {
          quiet.abort(new Error('nothing more'))
          // The poll ends with nothing.
          bed.sqs.advance(waitMs)
        }
        const { done, value } = await next
        if (done) return
        yield value
      }
    } finally {
      await objects.return?.()
    }
  }
}

sourceConformance('s3_sqs', async (): Promise<SourceHarness> => {
  const bed = await openBed()
  const waitMs = 1000
  // Nothing expires by itself while the clock moves on, but after a kill.
  const visibilityMs = 12 * 3_600_000
  let consumer: Consumer | undefined
  return {
    async start(how = 'stopped') {
      if (how === 'killed') {
        await consumer?.kill()
        bed.sqs.advance(visibilityMs)
      }
      if (consumer) await consumer.start()
      else consumer = await bed.consumer({ wait_time: '1s', visibility_timeout: '12h' })
      const { source, ledger } = consumer
      const objects = untilQuiet(bed, source, waitMs)
      const given = new Proxy(source, {
        get: (target, name) => {
          if (name === 'objects') return objects
          const value: unknown = Reflect.get(target, name, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      return { source: given, ledger }
    },
    put: (key, body) => void bed.arrive(key, body),
    remove: (key) => bed.s3.remove(key),
    stall(what) {
      if (what === 'lists') bed.sqs.fault = () => 'hang'
      else bed.s3.faults.onGet = () => ({ stallAfter: 2 ** 20 + 5 })
    },
    deny: () => bed.sqs.deny(),
    content: () => [bed.messages.map(({ id, state, receives }) => [id, state, receives]), bed.s3.read('a')],
    async later() {
      await until(() => consumer?.figure('held') === 0)
      bed.sqs.advance(3_600_000)
    },
    completes: false,
    replaysElsewhere: true,
    close: () => bed.close(),
  }
})
