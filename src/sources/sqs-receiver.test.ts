import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { until } from '../../test/servers/s3-sqs-bed.ts'
import { type SqsTestbed, type SqsTestbedOptions, startSqsTestbed, waiting } from '../../test/servers/sqs-testbed.ts'
import { sqsErrors } from '../../test/servers/sqs-wire.ts'
import { type SqsMessage, SqsQueue } from './sqs-queue.ts'
import { type ReceiverOptions, SqsReceiver } from './sqs-receiver.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const limits = { timeout: 20_000 }

class Taker {
  readonly bed: SqsTestbed
  readonly receiver: SqsReceiver
  readonly lines: string[] = []
  readonly taken: SqsMessage[] = []
  readonly soft = new AbortController()
  readonly queue: SqsQueue
  room = 10
  isIdle = true
  changes = 0

  constructor(bed: SqsTestbed, o: Partial<ReceiverOptions>) {
    this.bed = bed
    this.queue = new SqsQueue(bed.QueueUrl, {}, 24)
    this.receiver = new SqsReceiver({
      ...{ queue: this.queue, log: testContext(this.lines).log, nowMs: () => bed.sqs.nowMs() },
      ...{ waitMs: 20_000, visibilityMs: 60_000, intervalMs: 0, once: false, signal: this.soft.signal },
      failureWaits: { minMs: 1, maxMs: 2 },
      room: () => this.room - this.taken.length,
      idle: () => this.isIdle,
      take: async (message) => void this.taken.push(message),
      changed: () => {
        this.changes += 1
      },
      ...o,
    })
  }

  get requests(): number {
    return this.bed.sqs.counters.ReceiveMessage ?? 0
  }

  send(count: number): void {
    for (let i = 0; i < count; i += 1) this.bed.sqs.send('events', String(i))
  }

  told(part: string): string[] {
    return this.lines.filter((line) => line.includes(part))
  }
}

async function within(
  o: SqsTestbedOptions & Partial<Pick<ReceiverOptions, 'once' | 'waitMs' | 'intervalMs'>>,
  act: (taker: Taker) => Promise<void>,
): Promise<void> {
  const { once = false, waitMs = 20_000, intervalMs = 0, ...options } = o
  const taker = new Taker(await startSqsTestbed(options), { once, waitMs, intervalMs })
  try {
    await act(taker)
  } finally {
    taker.soft.abort()
    await taker.receiver.stop()
    taker.queue[Symbol.dispose]()
  }
}

test('one long poll at a time while the queue is quiet, answered as soon as a message is there', limits, () =>
  within({}, async (taker) => {
    taker.receiver.pump()
    taker.receiver.pump()
    await waiting(taker.bed.sqs, 1)
    assert.equal(taker.bed.sqs.calls[0]?.body.WaitTimeSeconds, 20)
    assert.equal(taker.bed.sqs.calls[0]?.body.VisibilityTimeout, 60)
    taker.send(1)
    await until(() => taker.taken.length === 1)
    await waiting(taker.bed.sqs, 1)
    assert.equal(taker.requests, 2)
  }),
)

test(
  'several requests at once while they come back full, at most eight, and never for more than there is room',
  limits,
  () =>
    within({}, async (taker) => {
      let atOnce = 0
      let most = 0
      const gate = Promise.withResolvers<void>()
      taker.bed.sqs.fault = async ({ n }) => {
        atOnce += 1
        most = Math.max(most, atOnce)
        if (n > 1) await gate.promise
        atOnce -= 1
        return undefined
      }
      taker.room = 205
      taker.send(300)
      taker.receiver.pump()
      await until(() => atOnce === 8)
      taker.receiver.pump()
      gate.resolve()
      await until(() => taker.taken.length === 205)
      assert.equal(most, 8)
      const asked = taker.bed.sqs.calls.map(({ body }) => Number(body.MaxNumberOfMessages))
      assert.equal(
        asked.reduce((sum, max) => sum + max, 0),
        205,
      )
      assert.ok(asked.every((max) => max >= 1 && max <= 10))
      await until(() => taker.receiver.isQuiet)
      taker.room += 3
      taker.receiver.pump()
      await until(() => taker.taken.length === 208)
    }),
)

test('once, it is drained when a poll finds nothing while nothing is under way', limits, () =>
  within({ once: true, waitMs: 0 }, async (taker) => {
    taker.send(3)
    taker.isIdle = false
    taker.receiver.pump()
    await until(() => taker.taken.length === 3 && taker.requests >= 3)
    assert.equal(taker.receiver.isDrained, false)
    taker.isIdle = true
    await until(() => taker.receiver.isDrained)
    const { requests } = taker
    taker.receiver.pump()
    assert.equal(taker.requests, requests)
  }),
)

test('once, it polls for two seconds at most: only to learn whether there is anything', limits, () =>
  within({ once: true, waitMs: 20_000 }, async (taker) => {
    taker.receiver.pump()
    await waiting(taker.bed.sqs, 1)
    assert.equal(taker.bed.sqs.calls[0]?.body.WaitTimeSeconds, 2)
    taker.bed.sqs.advance(2000)
    await until(() => taker.receiver.isDrained)
  }),
)

test(
  '`interval` is waited between two polls when the queue is empty, and a pause stands even without long polls',
  limits,
  async () => {
    for (const [waitMs, intervalMs, atLeastMs] of [
      [0, 0, 200],
      [0, 350, 350],
      [1000, 300, 300],
    ] as const) {
      await within({ waitMs, intervalMs }, async (taker) => {
        const timesMs: number[] = []
        taker.bed.sqs.fault = () => void timesMs.push(performance.now())
        taker.receiver.pump()
        await until(() => taker.bed.sqs.waiting > 0 || timesMs.length > 0)
        taker.bed.sqs.advance(waitMs)
        await until(() => timesMs.length > 1)
        // Timers may be a millisecond early.
        assert.ok((timesMs[1] as number) - (timesMs[0] as number) >= atLeastMs - 2, String(timesMs))
      })
    }
  },
)

test('errors in passing are waited out, and told of', limits, () =>
  within({}, async (taker) => {
    taker.send(1)
    // The SDK tries three times by itself.
    taker.bed.sqs.fault = ({ n }) => (n <= 4 ? sqsErrors.serviceUnavailable : undefined)
    taker.receiver.pump()
    await until(() => taker.taken.length === 1)
    assert.equal(taker.told('warn receiving interrupted; trying again').length, 1)
    assert.equal(taker.told('info the queue answers again').length, 1)
    assert.match(taker.lines[0] ?? '', /cannot receive from http:.*\/events: ServiceUnavailable: /)
  }),
)

test('as a daemon it goes on even where only the operator can help, and says so as an error', limits, () =>
  within({}, async (taker) => {
    taker.send(1)
    taker.bed.sqs.deny()
    taker.receiver.pump()
    await until(() => taker.told('error cannot receive; trying again').length >= 3)
    assert.equal(taker.receiver.failure, undefined)
    taker.bed.sqs.allow()
    await until(() => taker.taken.length === 1)
  }),
)

test('once, it gives up after eight failures in a row', limits, () =>
  within({ once: true, waitMs: 0 }, async (taker) => {
    taker.bed.sqs.fault = () => 'reset'
    taker.receiver.pump()
    await until(() => taker.receiver.failure !== undefined)
    assert.equal(taker.receiver.failure?.code, 'source.unavailable')
    assert.equal(taker.told('warn receiving interrupted').length, 7)
  }),
)

test(
  'requests that fail at the same time are one failure: a short outage neither ends a run nor makes it wait long',
  limits,
  () =>
    within({ once: true, waitMs: 0 }, async (taker) => {
      // Eight requests, each of which the SDK sends three times.
      let round = { count: 0, gate: Promise.withResolvers<void>() }
      let rounds = 0
      taker.bed.sqs.fault = async ({ n }) => {
        if (n === 1 || rounds === 3) return undefined
        const { gate } = round
        round.count += 1
        if (round.count === 8) {
          rounds += 1
          round = { count: 0, gate: Promise.withResolvers<void>() }
          gate.resolve()
        }
        await gate.promise
        return 'reset'
      }
      taker.room = 95
      taker.send(95)
      taker.receiver.pump()
      await until(() => taker.taken.length === 95 || taker.receiver.failure !== undefined)
      assert.equal(taker.receiver.failure, undefined)
      assert.equal(taker.told('warn receiving interrupted').length, 1)
    }),
)

test('once, it gives up at once where only the operator can help', limits, () =>
  within({ once: true, waitMs: 0 }, async (taker) => {
    taker.bed.sqs.deny(sqsErrors.queueDoesNotExist)
    taker.receiver.pump()
    await until(() => taker.receiver.failure !== undefined)
    assert.equal(taker.receiver.failure?.code, 'source.access')
    assert.match(taker.receiver.failure?.message ?? '', /\(check queue_url, its region and account\)$/)
    assert.equal(taker.requests, 1)
  }),
)

test('OverLimit is no reason to give up: others give messages back', limits, () =>
  within({ inFlightLimit: 2, waitMs: 0 }, async (taker) => {
    taker.send(3)
    taker.receiver.pump()
    await until(() => taker.told('OverLimit').length > 0)
    assert.equal(taker.taken.length, 2)
    const [first] = taker.taken
    assert.ok(first)
    await taker.queue.delete([first], { signal: taker.soft.signal })
    await until(() => taker.taken.length === 3)
  }),
)

test('a stop ends a poll that waits, and takes what a request brings that had just begun', limits, () =>
  within({}, async (taker) => {
    const arrived = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    taker.bed.sqs.fault = async () => {
      arrived.resolve()
      await goOn.promise
      return undefined
    }
    taker.send(1)
    taker.receiver.pump()
    await arrived.promise
    taker.soft.abort()
    const stopped = taker.receiver.stop()
    goOn.resolve()
    await stopped
    assert.equal(taker.taken.length, 1)
    assert.ok(taker.receiver.isQuiet)
    taker.receiver.pump()
    assert.ok(taker.receiver.isQuiet)
  }),
)

test('a stop ends a pause, and a request that hangs', limits, async () => {
  await within({ intervalMs: 3_600_000, waitMs: 0 }, async (taker) => {
    taker.receiver.pump()
    await until(() => taker.requests === 1)
    await taker.receiver.stop()
    assert.ok(taker.receiver.isQuiet)
  })
  await within({}, async (taker) => {
    taker.bed.sqs.fault = () => 'hang'
    taker.receiver.pump()
    await until(() => taker.requests === 1)
    await taker.receiver.stop()
    assert.ok(taker.receiver.isQuiet)
  })
})
