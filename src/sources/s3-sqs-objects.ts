/** The S3 side of `s3_sqs`: objects of many buckets and regions, found and read as their events name them. */
import { HeadBucketCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import { RequestWatch } from '../aws/request-watch.ts'
import type { ReplayRange, Signal, SourceContext } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { StreamError } from '../core/errors.ts'
import { asS3Error } from './s3-dependency.ts'
import { s3Error } from './s3-errors.ts'
import type { NotifiedObject } from './s3-notification.ts'
import { confirmObject, fillFromObject, headObject, objectId, readObject, type S3Object } from './s3-object.ts'
import { replayedObjects } from './s3-replay.ts'
import type { S3SqsConfig } from './s3-sqs-config.ts'
import { regionOf } from './sqs-queue.ts'

/** An object as a message tells of it. */
export interface NotifiedS3Object extends S3Object {
  readonly otherKey: string | undefined
  readonly region: string | undefined
  readonly eventMs: number | undefined
}

export class NotifiedObjects implements Disposable {
  readonly #config: S3SqsConfig
  readonly #timeFromKey: (key: string) => number | undefined
  readonly #clients = new Map<string, { readonly client: S3Client; readonly watch: RequestWatch }>()
  /** Where the last object was that was asked for. */
  #last: { readonly bucket: string; readonly region: string | undefined } | undefined
  readonly state: DependencyState

  constructor(config: S3SqsConfig, { timeFromKey, nowMs }: Pick<SourceContext, 'timeFromKey' | 'nowMs'>) {
    this.#config = config
    this.#timeFromKey = timeFromKey
    this.state = new DependencyState({ name: 's3', nowMs, probe: (o) => this.#probe(o) })
  }

  /**
   * Any answer will do: reading objects is all that must be allowed here, and whether it is, their reads show. Before
   * the first message nobody knows a bucket to ask for.
   */
  async #probe(o: Signal): Promise<void> {
    if (this.#last) await this.statusOf(this.#last.bucket, o, this.#last.region)
  }

  /** The status with which S3 answers when it is asked for a bucket. Throws a StreamError if it does not answer. */
  async statusOf(bucket: string, o: Signal, region?: string): Promise<number> {
    const { client, watch } = this.#connection(region)
    try {
      await client.send(watch.aside(new HeadBucketCommand({ Bucket: bucket })), { abortSignal: o.signal })
      return 200
    } catch (error) {
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
      if (status === undefined || status >= 500) throw s3Error(error, `reach s3://${bucket}`)
      return status
    }
  }

  /**
   * The object of an event, which may have been sent at `sentMs`. If the event names no version, S3 is asked, so that the
   * object is read as one and known again. Throws a StreamError if it does not answer.
   */
  async resolve(notified: NotifiedObject, sentMs: number, signal?: AbortSignal): Promise<NotifiedS3Object> {
    const { bucket, key, otherKey, etag, region, eventMs } = notified
    const timeMs = this.#timeFromKey(key) ?? eventMs ?? sentMs
    // A size of 0 may be one that the sender did not know: reading an object to its end costs nothing if it is empty.
    const size = notified.size || undefined
    const rest = { bucket, key, otherKey, size, region, eventMs, timeMs, lastModifiedMs: eventMs ?? sentMs }
    if (etag !== undefined) return { id: objectId(bucket, key, etag), etag: `"${etag}"`, ...rest }
    try {
      return await this.current({ bucket, key, otherKey, region, eventMs }, signal)
    } catch (error) {
      if (!isVanished(error)) throw error
    }
    // It is given out all the same: that it is gone is an outcome too, and is written down.
    return { id: objectId(bucket, key, `~${sentMs}`), etag: undefined, ...rest }
  }

  /** The version that is there now, under either form of its key. Throws a StreamError. */
  async current(
    object: Pick<NotifiedS3Object, 'bucket' | 'key' | 'otherKey' | 'region' | 'eventMs'>,
    signal?: AbortSignal,
  ): Promise<NotifiedS3Object> {
    const { bucket, key, otherKey, region, eventMs } = object
    try {
      return { ...(await this.#head(bucket, key, region, signal)), eventMs }
    } catch (error) {
      if (!isVanished(error) || otherKey === undefined) throw error
      return { ...(await this.#head(bucket, otherKey, region, signal)), eventMs }
    }
  }

  async find(key: string, o: Signal & { readonly bucket?: string | undefined }): Promise<NotifiedS3Object> {
    if (o.bucket !== undefined) return await this.#head(o.bucket, key, undefined, o.signal)
    const hint = 'name the object as s3://bucket/key'
    throw new StreamError('source.access', `cannot find ${key}: the queue tells of many buckets (${hint})`)
  }

  /** The objects of a time range in a bucket. No event is told of them: the time is by the name, else LastModified. */
  async *replayed(bucket: string, range: ReplayRange, o: Signal): AsyncGenerator<NotifiedS3Object, void, undefined> {
    const client = this.#clientFor({ bucket, region: undefined })
    const place = { bucket, prefix: '', partition: 'auto', timeFromKey: this.#timeFromKey } as const
    for await (const object of replayedObjects(client, place, range, o))
      yield { ...object, otherKey: undefined, region: undefined, eventMs: undefined }
  }

  async #head(
    bucket: string,
    key: string,
    region: string | undefined,
    signal = new AbortController().signal,
  ): Promise<NotifiedS3Object> {
    const timeFromKey = this.#timeFromKey
    const found = await headObject(this.#clientFor({ bucket, region }), { bucket, key }, { signal, timeFromKey })
    return { ...found, otherKey: undefined, region, eventMs: undefined }
  }

  async *open(object: NotifiedS3Object, offset: number, o: Signal): AsyncGenerator<Buffer, void, undefined> {
    const client = this.#clientFor(object)
    const { otherKey } = object
    let isFound = false
    try {
      for await (const piece of readObject(client, object, offset, o)) {
        isFound = true
        yield piece
      }
    } catch (error) {
      if (!isVanished(error) || otherKey === undefined || isFound) throw error
      try {
        yield* readObject(client, { ...object, key: otherKey }, offset, o)
      } catch (second) {
        // Missing under both names: then it is the first one that is missing.
        throw isVanished(second) ? error : second
      }
    }
  }

  async confirm(object: NotifiedS3Object, o: Signal): Promise<number> {
    return this.#underEitherKey(object, (named) => confirmObject(this.#clientFor(object), named, o))
  }

  async fill(object: NotifiedS3Object, offset: number, into: Buffer, o: Signal): Promise<void> {
    const client = this.#clientFor(object)
    await this.#underEitherKey(object, (named) => fillFromObject(client, named, offset, into, o))
  }

  async #underEitherKey<T>(object: NotifiedS3Object, act: (named: NotifiedS3Object) => Promise<T>): Promise<T> {
    try {
      return await act(object)
    } catch (error) {
      const { otherKey } = object
      if (!isVanished(error) || otherKey === undefined) throw error
      return await act({ ...object, key: otherKey }).catch((second: unknown) => {
        // Missing under both names: then it is the first one that is missing.
        throw isVanished(second) ? error : second
      })
    }
  }

  #clientFor({ bucket, region }: Pick<NotifiedS3Object, 'bucket' | 'region'>): S3Client {
    this.#last = { bucket, region }
    return this.#connection(region).client
  }

  /** An endpoint of its own has all buckets; in AWS the event says in which region its bucket is. */
  #connection(region: string | undefined): { readonly client: S3Client; readonly watch: RequestWatch } {
    const config = this.#config
    const used = config.endpoint === undefined ? (region ?? config.region ?? regionOf(config.queue_url)) : config.region
    let known = this.#clients.get(used ?? '')
    if (!known) {
      const client = createS3Client(used === undefined ? config : { ...config, region: used }, config.workers + 16)
      const watch = new RequestWatch(client, (error) => this.state.used(asS3Error(error, 'read from S3')))
      known = { client, watch }
      this.#clients.set(used ?? '', known)
    }
    return known
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#clients.values()) client.destroy()
  }
}

function isVanished(error: unknown): boolean {
  return error instanceof StreamError && error.code === 'source.vanished'
}
