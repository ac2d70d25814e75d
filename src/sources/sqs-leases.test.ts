import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { until } from '../../test/servers/s3-sqs-bed.ts'
import type { SqsFault, SqsRequest } from '../../test/servers/sqs.ts'
import { type SqsTestbed, type SqsTestbedOptions, startSqsTestbed } from '../../test/servers/sqs-testbed.ts'
import { type Fields, named, sqsErrors } from '../../test/servers/sqs-wire.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { type Lease, Leases, leaseMetrics } from './sqs-leases.ts'
import { SqsQueue } from './sqs-queue.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const limits = { timeout: 20_000 }
const live = { signal: new AbortController().signal }
const hourMs = 3_600_000
const invalidHandle = named('ReceiptHandleIsInvalid', 'The receipt handle has expired.')

class Holder {
  readonly bed: SqsTestbed
  readonly queue: SqsQueue
  readonly leases: Leases
  readonly lines: string[] = []
  readonly meter = new MemoryMeter()
  readonly visibilityMs: number

  constructor(bed: SqsTestbed, visibilityMs: number) {
    this.bed = bed
    this.visibilityMs = visibilityMs
    this.queue = new SqsQueue(bed.QueueUrl, {}, 8)
    const { log } = testContext(this.lines)
    const nowMs = () => bed.sqs.nowMs()
    const metrics = this.meter.bind(leaseMetrics, {})
    this.leases = new Leases(this.queue, { visibilityMs, log, nowMs, metrics })
  }

  /** Receives what there is and holds it. */
  async take(max = 10): Promise<Lease[]> {
    const visibilitySeconds = Math.ceil(this.visibilityMs / 1000)
    const messages = await this.queue.receive({ max, waitSeconds: 0, visibilitySeconds, ...live })
    return messages.map((message) => this.leases.hold(message, this.bed.sqs.nowMs()).lease)
  }

  /** Sends so many messages and holds them all. */
  async hold(count: number): Promise<Lease[]> {
    for (let i = 0; i < count; i += 1) this.bed.sqs.send('events', `message ${i}`)
    const held: Lease[] = []
    while (held.length < count) held.push(...(await this.take()))
    return held
  }

  get states(): string[] {
    return this.bed.sqs.messages('events').map(({ state }) => state)
  }

  entries(action: string): number[] {
    return this.bed.sqs.calls
      .filter((call) => call.action === action)
      .map(({ body }) => (Array.isArray(body.Entries) ? body.Entries.length : 0))
  }

  metric(name: keyof typeof leaseMetrics): number | undefined {
    return this.meter.snapshot().find((series) => series.name === name)?.value
  }
}

/** The clock of the server stands; extensions come by real timers. */
async function within(
  o: SqsTestbedOptions & { readonly visibilityMs?: number },
  act: (holder: Holder) => Promise<void>,
): Promise<void> {
  const { visibilityMs = 2000, ...options } = o
  const holder = new Holder(await startSqsTestbed(options), visibilityMs)
  try {
    await act(holder)
  } finally {
    await holder.leases[Symbol.asyncDispose]()
    holder.queue[Symbol.dispose]()
  }
}

const deletes = 'DeleteMessageBatch'
const changes = 'ChangeMessageVisibilityBatch'
const failing =
  (action: string, fault: (request: SqsRequest) => SqsFault | undefined) =>
  (request: SqsRequest): SqsFault | undefined =>
    request.action === action ? fault(request) : undefined
/** The first request for the action has its first entry fail so. */
const firstEntryFails = (action: string, error: ReturnType<typeof named>) =>
  failing(action, ({ n }) =>
    n === 1 ? { failEntries: (_: Fields, i: number) => (i === 0 ? error : undefined) } : undefined,
  )

test('B5.2: every held message is extended at a third of its visibility timeout, again and again', limits, (t) =>
  within({}, async (holder) => {
    const { bed, leases } = holder
    const timers = t.mock.method(globalThis, 'setTimeout')
    await holder.hold(23)
    const receivedMs = bed.sqs.nowMs()
    for (let round = 1; round <= 2; round += 1) {
      // Most of the time is over by the clock of the server: without the extension they would come back in the next step.
      bed.sqs.advance(1400)
      await until(() => leases.tally.extended === 23 * round)
      for (const { state, untilMs } of bed.sqs.messages('events')) {
        assert.deepEqual([state, untilMs], ['in flight', receivedMs + 1400 * round + holder.visibilityMs])
      }
    }
    assert.deepEqual(await bed.receive(), [])
    assert.deepEqual(holder.entries(changes), [10, 10, 3, 10, 10, 3])
    assert.equal(holder.metric('sqs_visibility_extended_total'), 46)
    assert.equal(holder.metric('sqs_messages_held'), 23)
    // A third, and up to a quarter less so that processes do not keep in step.
    const waits = timers.mock.calls.map(({ arguments: [, ms] }) => ms ?? 0)
    const third = holder.visibilityMs / 3
    assert.ok(waits.filter((ms) => ms >= third * 0.75 && ms <= third).length >= 2, String(waits))
  }),
)

test('deletes go in batches of ten', limits, () =>
  within({}, async (holder) => {
    for (const lease of await holder.hold(23)) holder.leases.done(lease)
    await until(() => holder.leases.size === 0)
    assert.deepEqual(holder.states, [])
    assert.deepEqual(holder.entries(deletes).toSorted(), [10, 10, 3])
    assert.equal(holder.metric('sqs_messages_deleted_total'), 23)
    assert.equal(holder.metric('sqs_messages_held'), 0)
  }),
)

test('an entry that fails in passing under HTTP 200 is tried again, alone', limits, () =>
  within({ fault: firstEntryFails(deletes, sqsErrors.internalFailure) }, async (holder) => {
    for (const lease of await holder.hold(5)) holder.leases.done(lease)
    await until(() => holder.leases.size === 0)
    assert.deepEqual(holder.states, [])
    assert.deepEqual(holder.entries(deletes), [5, 1])
    assert.deepEqual([holder.leases.tally.deleted, holder.leases.tally.lost], [5, 0])
  }),
)

test('an entry whose handle is no longer good is lost, not deleted, and told of once', limits, () =>
  within({ fault: failing(deletes, () => ({ failEntries: () => invalidHandle })) }, async (holder) => {
    for (const lease of await holder.hold(3)) holder.leases.done(lease)
    await until(() => holder.leases.size === 0)
    assert.deepEqual(holder.entries(deletes), [3])
    assert.deepEqual([holder.leases.tally.deleted, holder.leases.tally.lost], [0, 3])
    assert.equal(holder.metric('sqs_messages_lost_total'), 3)
    assert.equal(holder.states.length, 3)
    assert.equal(holder.lines.filter((line) => line.startsWith('warn the receipt handle')).length, 1)
  }),
)

test('extensions that are throttled, refused or unanswered for a while are made good in time', limits, () =>
  within({}, async (holder) => {
    const { bed, leases } = holder
    const faults: SqsFault[] = [
      sqsErrors.requestThrottled,
      'reset',
      sqsErrors.serviceUnavailable,
      sqsErrors.accessDenied,
    ]
    bed.sqs.fault = failing(changes, () => faults.shift())
    await holder.hold(2)
    bed.sqs.advance(1000)
    await until(() => leases.tally.extended === 2)
    assert.deepEqual(faults, [])
    assert.equal(leases.tally.lost, 0)
    assert.deepEqual(holder.states, ['in flight', 'in flight'])
  }),
)

test('an entry of an extension that fails in passing is extended all the same', limits, () =>
  within({ fault: firstEntryFails(changes, sqsErrors.internalFailure) }, async (holder) => {
    const { bed, leases } = holder
    await holder.hold(3)
    bed.sqs.advance(1000)
    await until(() => leases.tally.extended === 3)
    assert.deepEqual(holder.entries(changes), [3, 1])
    const ends = bed.sqs.messages('events').map(({ untilMs }) => untilMs - bed.sqs.nowMs())
    assert.deepEqual(ends, [2000, 2000, 2000])
  }),
)

for (const staleHandles of ['refuse', 'ignore'] as const) {
  test(`what expired is never deleted, whatever the server does with stale handles (${staleHandles})`, limits, () =>
    within({ staleHandles, visibilityMs: 10_000 }, async (holder) => {
      const { bed, leases } = holder
      const [lease] = await holder.hold(1)
      assert.ok(lease)
      bed.sqs.advance(10_000)
      // Another consumer has it now.
      assert.equal((await bed.receive({ VisibilityTimeout: 60 })).length, 1)
      leases.done(lease)
      await until(() => leases.size === 0)
      assert.deepEqual([leases.tally.deleted, leases.tally.lost], [0, 1])
      assert.deepEqual(holder.entries(deletes), [])
      assert.deepEqual(holder.states, ['in flight'])
    }),
  )

  test(
    `a message that came a second time is held, extended and deleted by its newest handle (${staleHandles})`,
    limits,
    () =>
      within({ staleHandles }, async (holder) => {
        const { bed, leases } = holder
        const [first] = await holder.hold(1)
        assert.ok(first)
        const before = first.handle
        bed.sqs.advance(4000)
        const [again] = await holder.take()
        assert.equal(again, first)
        assert.notEqual(first.handle, before)
        assert.equal(first.receives, 2)
        bed.sqs.advance(1000)
        await until(() => leases.tally.extended === 1)
        leases.done(first)
        await until(() => leases.size === 0)
        assert.deepEqual(holder.states, [])
        assert.deepEqual([leases.tally.deleted, leases.tally.lost], [1, 0])
      }),
  )

  test(
    `a delete that was under way when the message came again is repeated by the new handle (${staleHandles})`,
    limits,
    () =>
      within({ staleHandles }, async (holder) => {
        const { bed, leases } = holder
        const [lease] = await holder.hold(1)
        assert.ok(lease)
        const arrived = Promise.withResolvers<void>()
        const goOn = Promise.withResolvers<void>()
        bed.sqs.fault = async ({ action, n }) => {
          if (action !== deletes || n > 1) return undefined
          arrived.resolve()
          await goOn.promise
          return undefined
        }
        leases.done(lease)
        await arrived.promise
        bed.sqs.advance(4000)
        assert.equal((await holder.take())[0], lease)
        goOn.resolve()
        await until(() => leases.size === 0)
        assert.deepEqual(holder.states, [])
        assert.deepEqual(holder.entries(deletes), [1, 1])
      }),
  )
}

test('a message that comes again before the answer to its release is a new one', limits, () =>
  within({}, async (holder) => {
    const { bed, leases } = holder
    const [lease] = await holder.hold(1)
    assert.ok(lease)
    bed.sqs.fault = failing(changes, () => 'resetAfter')
    leases.release([lease])
    await until(() => holder.states[0] === 'visible')
    const [again] = await holder.take()
    assert.ok(again && again !== lease)
    bed.sqs.fault = undefined
    leases.done(again)
    await until(() => leases.size === 0)
    assert.deepEqual(holder.states, [])
  }),
)

test('an extension never reaches beyond 12 hours after the receive; what takes longer is lost', limits, () =>
  within({}, async (holder) => {
    const { bed, leases } = holder
    const [lease] = await holder.hold(1)
    assert.ok(lease)
    // Nearly all of the 12 hours have passed, and it was extended all the time.
    lease.expiresMs = lease.receivedMs + 12 * hourMs - 2000
    const [message] = bed.sqs.messages('events')
    assert.ok(message)
    await holder.queue.changeVisibility([{ handle: lease.handle, visibilitySeconds: 12 * 3600 - 2 }], live)
    bed.sqs.advance(12 * hourMs - 2500)
    await until(() => leases.tally.extended === 1)
    assert.equal(leases.tally.lost, 0)
    assert.equal(message.untilMs, lease.receivedMs + 12 * hourMs - 1500)
    bed.sqs.advance(2000)
    leases.done(lease)
    await until(() => leases.size === 0)
    assert.deepEqual([leases.tally.deleted, leases.tally.lost], [0, 1])
    assert.deepEqual(holder.states, ['visible'])
  }),
)

test('what is released is visible at once, or after the delay, and is not extended any more', limits, () =>
  within({}, async (holder) => {
    const { bed, leases } = holder
    const [now, later] = await holder.hold(2)
    assert.ok(now && later)
    leases.release([now])
    leases.release([later], 30)
    await until(() => leases.size === 0)
    assert.deepEqual(holder.states, ['visible', 'in flight'])
    bed.sqs.advance(29_000)
    assert.deepEqual(holder.states, ['visible', 'in flight'])
    bed.sqs.advance(1000)
    assert.deepEqual(holder.states, ['visible', 'visible'])
    assert.deepEqual([leases.tally.released, leases.tally.extended], [2, 0])
    assert.equal(holder.metric('sqs_messages_released_total'), 2)
  }),
)

test('releases of one turn go in batches of ten', limits, () =>
  within({}, async (holder) => {
    for (const lease of await holder.hold(12)) holder.leases.release([lease])
    await until(() => holder.leases.size === 0)
    assert.deepEqual(holder.entries(changes).toSorted(), [10, 2])
  }),
)

test('closing deletes what is done, gives back what is held, and leaves alone what was let go', limits, () =>
  within({}, async (holder) => {
    const { leases } = holder
    const held = await holder.hold(14)
    leases.done(held[0] as Lease)
    leases.letGo(held[1] as Lease)
    await leases.close(5000)
    assert.deepEqual(holder.states, ['in flight', ...Array.from({ length: 12 }, () => 'visible')])
    assert.equal(leases.size, 0)
    assert.deepEqual(leases.tally, { deleted: 1, extended: 0, released: 12, lost: 0 })
    await leases.close(5000)
    await leases[Symbol.asyncDispose]()
    await leases[Symbol.asyncDispose]()
  }),
)

for (const [name, fault] of [
  ['hangs', 'hang'],
  ['breaks connections', 'reset'],
  ['refuses everything', sqsErrors.accessDenied],
] as const) {
  test(`closing ends within its limit against a server that ${name}`, limits, () =>
    within({}, async (holder) => {
      const [done] = await holder.hold(3)
      holder.bed.sqs.fault = () => fault
      holder.leases.done(done as Lease)
      await holder.leases.close(300)
      assert.deepEqual(holder.states, ['in flight', 'in flight', 'in flight'])
    }),
  )
}
