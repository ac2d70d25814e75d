/** A broker in the process and a sink that writes to it, for the tests of the kafka sink. */
import type * as z from 'zod'
import type { Context, Sink } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import { kafkaConfig } from '../../src/sinks/kafka.ts'
import { KafkaSink } from '../../src/sinks/kafka-sink.ts'
import { testContext } from '../conformance/sink.ts'
import { type KafkaOptions, type KafkaServer, startKafka } from './kafka.ts'

export type Settings = Partial<Omit<z.input<typeof kafkaConfig>, 'type'>>
export const live = { signal: new AbortController().signal }

export function sinkOf(server: KafkaServer, settings: Settings = {}, context: Context = testContext()): Sink {
  const retry = { min: '1ms', max: '20ms' }
  return new KafkaSink(
    kafkaConfig.parse({ type: 'kafka', brokers: [server.address], topic: 'logs', retry, ...settings }),
    context,
  )
}

/** Runs the body with a started broker and its sink, and closes both after. */
export async function withKafka(
  o: KafkaOptions,
  settings: Settings,
  body: (server: KafkaServer, sink: Sink) => Promise<void>,
): Promise<void> {
  const server = await startKafka(o)
  try {
    await using sink = sinkOf(server, settings)
    await body(server, sink)
  } finally {
    await server.close()
  }
}

/** The StreamError that the promise is rejected with; undefined if it is resolved. */
export const errorOf = (promise: Promise<unknown>): Promise<StreamError | undefined> =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

export const names = (count: number, prefix = 'r'): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
export const stored = ({ log }: KafkaServer): string[] => log.values('logs').toSorted()
/** Record batches that came again and were recognized. */
export const repeated = ({ log }: KafkaServer): number =>
  log.partitions('logs').reduce((sum, partition) => sum + partition.repeated, 0)
