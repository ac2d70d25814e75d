/** What every receiver of log messages must get through: the streamer from moto to it, run as an operator would. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { Command } from '../e2e/command.ts'
import { Arrivals, type Arrived, LogLines } from './log-lines.ts'
import { type Moto, startMoto } from './moto.ts'
import { bytesUnread, type Receiver } from './receiver.ts'

/** Stands for the consumer in a configuration. */
export const consumerVariable = '${CONSUMER:-one}'

/** Where the records go, and how they are read there. */
export interface Target {
  readonly receiver: Receiver
  /** The sink, as a flow mapping of YAML. */
  readonly sink: string
  /** Takes a line of the receiver's file apart; throws where it cannot. */
  read(line: string): Arrived
}

/** What a receiver may have read and not yet written when it is killed. */
const inReceiverBytes = 1024 * 1024
/** Records in a batch of the sinks, by default. */
const batchRecords = 1000

export class Deliveries implements AsyncDisposable {
  readonly moto: Moto
  readonly #folder = mkdtempSync(join(tmpdir(), 's3-streamer-deliveries-'))
  readonly #commands: Command[] = []
  #runs = 0

  private constructor(moto: Moto) {
    this.moto = moto
  }

  static async start(): Promise<Deliveries> {
    return new Deliveries(await startMoto())
  }

  /** A bucket with a queue, and a pipeline from there to the sink, which is given as a flow mapping of YAML. */
  async pipeline(sinkOf: string | ((folder: string) => string)): Promise<Pipeline> {
    this.#runs += 1
    const bucket = `run-${this.#runs}`
    const queueUrl = await this.moto.bucketWithQueue(bucket)
    const { endpoint, region, s3 } = this.moto
    const folder = join(this.#folder, bucket)
    mkdirSync(folder)
    const sink = typeof sinkOf === 'string' ? sinkOf : sinkOf(folder)
    const config = join(folder, 'config.yaml')
    writeFileSync(
      config,
      `pipelines:
  - name: logs
    source: { type: s3_sqs, queue_url: "${queueUrl}", endpoint: "${endpoint}", region: ${region}, force_path_style: true, visibility_timeout: 5s, wait_time: 1s }
    sink: ${sink}
    state: { file_path: "${join(folder, `state-${consumerVariable}.json`)}", save_interval: 200ms }
logging: { level: debug }
`,
    )
    return {
      bucket,
      queueUrl,
      folder,
      put: async (Key, Body) => {
        await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }))
      },
      run: (...args) => this.#run(config, args),
      runAs: (consumer, ...args) => this.#run(config, args, consumer),
      once: async () => {
        const command = this.#run(config, ['run', '--once'])
        assert.equal((await command.ended).code, 0, command.output.slice(-3000))
        return command.stdout
      },
      queueIsEmpty: async () => {
        const { waiting, inFlight } = await this.moto.queueSize(queueUrl)
        return waiting + inFlight === 0
      },
    }
  }

  #run(config: string, args: readonly string[], consumer?: string): Command {
    const env = consumer === undefined ? {} : { CONSUMER: consumer }
    const command = new Command([...args, '--config', config], { env })
    this.#commands.push(command)
    return command
  }

  /** The same for lines that a receiver gets; its file is emptied first. */
  async begin(lines: LogLines, { receiver, sink, read }: Target): Promise<Delivery> {
    await receiver.clear()
    const pipeline = await this.pipeline(sink)
    const putLines = (object: number) => pipeline.put(lines.key(object), lines.body(object))
    return {
      ...pipeline,
      putLines,
      putAll: async () => {
        for (let object = 0; object < lines.objects; object += 1) await putLines(object)
      },
      arrivals: new Arrivals(lines, receiver.file, read),
    }
  }

  /** Ends what a test that failed left running, too. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const command of this.#commands) await command.kill('SIGKILL')
    await this.moto.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export interface Pipeline {
  readonly bucket: string
  readonly queueUrl: string
  /** For whatever the test needs beside. */
  readonly folder: string
  put(key: string, body: Buffer | string): Promise<void>
  /** Starts the streamer with these arguments. */
  run(...args: readonly string[]): Command
  /** The same beside another one: with a state of its own, and its name for `consumerVariable` in the sink. */
  runAs(consumer: string, ...args: readonly string[]): Command
  /** `run --once`, which must end well; gives what it logged. */
  once(): Promise<string>
  queueIsEmpty(): Promise<boolean>
}

export interface Delivery extends Pipeline {
  putLines(object: number): Promise<void>
  putAll(): Promise<void>
  readonly arrivals: Arrivals
}

/** Resolves when it is so; throws with the streamer's own words when that takes too long. */
export async function until(isSo: () => Promise<boolean>, what: string, command?: Command): Promise<void> {
  for (const end = Date.now() + 60_000; !(await isSo()); ) {
    if (Date.now() > end) throw new Error(`waiting for ${what} in vain:\n${command?.output.slice(-3000) ?? ''}`)
    await sleep(20)
  }
}

const hundredThousand = { objects: 20, linesPerObject: 5000 }

/** What must be so; records may come twice after a kill. */
const clean = { lost: 0, strange: [] }
const outcome = ({ lost, strange }: Arrivals) => ({ lost, strange })

/** 100,000 records arrive, each once and as it was. */
export async function arrivesWhole(t: TestContext, bed: Deliveries, target: Target): Promise<void> {
  const { putAll, once, arrivals, queueIsEmpty } = await bed.begin(new LogLines(hundredThousand), target)
  await putAll()
  const startedMs = Date.now()
  await once()
  const seconds = (Date.now() - startedMs) / 1000
  await until(async () => (await arrivals.update()).lost === 0, 'every record').catch(() => undefined)
  t.diagnostic(`${arrivals.received} records in ${seconds.toFixed(1)} s`)
  assert.deepEqual({ ...outcome(arrivals), duplicated: arrivals.duplicated }, { ...clean, duplicated: 0 })
  assert.ok(await queueIsEmpty())
}

/** `kill -9` of the streamer in the middle, and a new start: nothing is lost. */
export async function survivesKillOfStreamer(t: TestContext, bed: Deliveries, target: Target): Promise<void> {
  const lines = new LogLines(hundredThousand)
  const { putAll, run, arrivals, queueIsEmpty } = await bed.begin(lines, target)
  await putAll()
  const first = run('run')
  await until(async () => (await arrivals.update()).received > lines.count / 10, 'the first records', first)
  await first.kill('SIGKILL')
  assert.equal(await queueIsEmpty(), false, 'it was killed in the middle')
  const second = run('run')
  await until(queueIsEmpty, 'an empty queue', second)
  const { code, stdout } = await second.kill('SIGTERM')
  assert.equal(code, 0, stdout.slice(-3000))
  await until(async () => (await arrivals.update()).lost === 0, 'every record').catch(() => undefined)
  t.diagnostic(`${arrivals.duplicated} of ${lines.count} records twice by the kill`)
  assert.deepEqual(outcome(arrivals), clean)
}

/**
 * The receiver hangs until its buffers are full, is ended in one way or the other, and started again. There is no acknowledgement, and
 * a receiver that is asked to end closes its connections without reading on: what lay in the socket buffers is lost, and no more.
 */
export async function losesOnlyWhatLayInBuffers(
  t: TestContext,
  bed: Deliveries,
  target: Target & { readonly port: number },
  end: 'kill' | 'stop' = 'kill',
): Promise<void> {
  const lines = new LogLines(hundredThousand)
  const { putAll, run, arrivals, queueIsEmpty } = await bed.begin(lines, target)
  await putAll()
  const { receiver, port } = target
  const command = run('run')
  await until(async () => (await arrivals.update()).received > lines.count / 20, 'the first records', command)
  receiver.freeze()
  const buffered = await settled(() => bytesUnread(port))
  assert.equal(await queueIsEmpty(), false, 'it was ended in the middle')
  await receiver[end]()
  await receiver.start()
  await until(queueIsEmpty, 'an empty queue', command)
  const { code, stdout } = await command.kill('SIGTERM')
  assert.equal(code, 0, stdout.slice(-3000))
  await settled(async () => (await arrivals.update()).received)
  const { lost, lostBytes, duplicated, strange } = arrivals
  t.diagnostic(`${lost} records of ${lostBytes} bytes lost, ${buffered} bytes were in the buffers; ${duplicated} twice`)
  assert.deepEqual(strange, [])
  assert.ok(lostBytes <= buffered + inReceiverBytes, `${lostBytes} bytes lost, ${buffered} in the buffers`)
  assert.ok(duplicated <= batchRecords, `${duplicated} twice`)
}

/** The receiver is stopped and started while nothing is being sent, in each way: nothing is lost, nothing comes twice. */
export async function noticesStopBetween(_t: TestContext, bed: Deliveries, target: Target): Promise<void> {
  const lines = new LogLines({ objects: 4, linesPerObject: 100 })
  const { putLines, run, arrivals, queueIsEmpty } = await bed.begin(lines, target)
  const { receiver } = target
  const command = run('run')
  const has = (objects: number) =>
    until(
      async () => (await arrivals.update()).received >= objects * lines.linesPerObject,
      `object ${objects}`,
      command,
    )
  await putLines(0)
  await has(1)
  await receiver.stop()
  await receiver.start()
  await putLines(1)
  await has(2)
  await receiver.kill()
  await receiver.start()
  await putLines(2)
  await has(3)
  await receiver.stop()
  await putLines(3)
  await command.until(() => /cannot (connect|send) to/.test(command.output), 'a refusal')
  assert.equal(await queueIsEmpty(), false)
  await receiver.start()
  await has(4)
  await until(queueIsEmpty, 'an empty queue', command)
  assert.equal((await command.kill('SIGTERM')).code, 0)
  assert.deepEqual(outcome(arrivals), clean)
  // A batch of datagrams of which one was refused is sent again as a whole, those that a receiver just back had got too.
  const allowed = target.sink.includes('udp://') ? lines.linesPerObject : 0
  assert.ok(arrivals.duplicated <= allowed, `${arrivals.duplicated} twice`)
}

/**
 * 2,000 records as datagrams, no more at once than the receiver's buffer holds: each arrives once. With `killed`, the streamer is killed
 * in the middle and started again, and what it had under way may come twice.
 */
export async function arrivesAsDatagrams(
  t: TestContext,
  bed: Deliveries,
  target: Target,
  killed = false,
): Promise<void> {
  const lines = new LogLines({ objects: 20, linesPerObject: 100 })
  const { putLines, run, arrivals, queueIsEmpty } = await bed.begin(lines, target)
  let command = run('run')
  for (let object = 0; object < lines.objects; object += 1) {
    await putLines(object)
    const before = object * lines.linesPerObject
    const received = (wanted: number) =>
      until(async () => (await arrivals.update()).received >= wanted, `record ${wanted}`, command)
    if (killed && object === lines.objects / 2) {
      await received(before + 1)
      await command.kill('SIGKILL')
      command = run('run')
    }
    await received(before + lines.linesPerObject)
  }
  await until(queueIsEmpty, 'an empty queue', command)
  assert.equal((await command.kill('SIGTERM')).code, 0)
  const { duplicated } = arrivals
  t.diagnostic(`${duplicated} of ${lines.count} records twice`)
  assert.deepEqual(outcome(arrivals), clean)
  assert.ok(duplicated <= (killed ? 2 * lines.linesPerObject : 0), `${duplicated} twice`)
}

/** What it gives when it has given the same for a while. */
async function settled(value: () => Promise<number>): Promise<number> {
  let last = await value()
  for (let same = 0; same < 10; ) {
    await sleep(50)
    const now = await value()
    same = now === last ? same + 1 : 0
    last = now
  }
  return last
}
