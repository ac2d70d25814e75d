/** The `s3` sink for whole objects on a test server, with parts of a thousand bytes and a log that outlives its instances. */

import { test } from 'node:test'
import type { ObjectSink, ObjectSinkContext } from '../../src/core/component.ts'
import { objectsOf, type S3ObjectsConfig, s3Config } from '../../src/sinks/s3-config.ts'
import { createS3Objects } from '../../src/sinks/s3-objects.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { type ObjectSinkHarness, objectSinkContext, type Trouble } from '../conformance/object-sink.ts'
import { type S3Server, startS3 } from './s3.ts'
import type { S3Fault } from './s3-answer.ts'
import { s3Errors } from './s3-wire.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

export const bedPartBytes = 1000

export interface UploadBed extends ObjectSinkHarness {
  readonly server: S3Server
  readonly context: ObjectSinkContext
  /** What was logged. */
  readonly lines: string[]
  /** Made with other settings than the bed. */
  create(o?: Partial<S3ObjectsConfig>): Promise<ObjectSink>
  /** Value of a counter. */
  counted(name: string): number
}

export const troubleFaults: Readonly<Record<Trouble, S3Fault>> = {
  error: s3Errors.internalError,
  slow_down: s3Errors.slowDown,
  cut: { cutRequestAt: 0 },
  cut_midway: { cutRequestAt: bedPartBytes / 2 },
  lost_answer: { after: { cutAfter: -1 } },
  refused: s3Errors.accessDenied,
  stall: { stallAfter: -1 },
}

/** Runs a test on a bed of its own. */
export function onUploadBed(title: string, body: (bed: UploadBed) => Promise<void>): void {
  test(title, async () => {
    const bed = await startUploadBed()
    try {
      await body(bed)
    } finally {
      await bed.close()
    }
  })
}

/** A hook that gives a fault so many times. */
export function faultTimes(fault: S3Fault, times = 1): () => S3Fault | undefined {
  let left = times
  return () => {
    left -= 1
    return left >= 0 ? fault : undefined
  }
}

export function uploadConfig(server: S3Server, o: Partial<S3ObjectsConfig> = {}): S3ObjectsConfig {
  const parsed = s3Config.parse({
    type: 's3',
    bucket: 'data',
    key: 'in/{path}',
    endpoint: server.endpoint,
    region: 'us-east-1',
  })
  return { ...objectsOf(parsed), part_size: bedPartBytes, ...o }
}

export async function startUploadBed(settings: Partial<S3ObjectsConfig> = {}): Promise<UploadBed> {
  const server = await startS3()
  server.minPartBytes = 1
  const lines: string[] = []
  const meter = new MemoryMeter()
  const context = { ...objectSinkContext(lines), meter }
  return {
    server,
    context,
    lines,
    create: (o) => createS3Objects(uploadConfig(server, { ...settings, ...o }), context),
    read: ({ path }) => server.read(`in/${path}`),
    unfinished: () => server.uploads().length,
    logged: () => context.uploads.list().length,
    counted: (name) => meter.snapshot().reduce((sum, series) => sum + (series.name === name ? series.value : 0), 0),
    trouble: (step, trouble) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const once = faultTimes(troubleFaults[trouble])
      const hook = () => {
        const fault = once()
        if (fault) resolve()
        return fault
      }
      if (step === 'open') server.faults.onCreateUpload = hook
      if (step === 'send') server.faults.onUploadPart = hook
      if (step === 'complete') Object.assign(server.faults, { onComplete: hook, onPut: hook })
      if (step === 'abort') server.faults.onAbort = hook
      return promise
    },
    close: () => server.close(),
  }
}
