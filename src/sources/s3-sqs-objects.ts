/** The S3 side of `s3_sqs`: objects of many buckets and regions, found and read as their events name them. */
import type { S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { NotifiedObject } from './s3-notification.ts'
import { confirmObject, fillFromObject, headObject, objectId, readObject, type S3Object } from './s3-object.ts'
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
  readonly #clients = new Map<string, S3Client>()

  constructor(config: S3SqsConfig, timeFromKey: (key: string) => number | undefined) {
    this.#config = config
    this.#timeFromKey = timeFromKey
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

  async #head(
    bucket: string,
    key: string,
    region: string | undefined,
    signal = new AbortController().signal,
  ): Promise<NotifiedS3Object> {
    const timeFromKey = this.#timeFromKey
    const found = await headObject(this.#client(region), { bucket, key }, { signal, timeFromKey })
    return { ...found, otherKey: undefined, region, eventMs: undefined }
  }

  async *open(object: NotifiedS3Object, offset: number, o: Signal): AsyncGenerator<Buffer, void, undefined> {
    const client = this.#client(object.region)
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
    return this.#underEitherKey(object, (named) => confirmObject(this.#client(object.region), named, o))
  }

  async fill(object: NotifiedS3Object, offset: number, into: Buffer, o: Signal): Promise<void> {
    const client = this.#client(object.region)
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

  /** An endpoint of its own has all buckets; in AWS the event says in which region its bucket is. */
  #client(region: string | undefined): S3Client {
    const config = this.#config
    const used = config.endpoint === undefined ? (region ?? config.region ?? regionOf(config.queue_url)) : config.region
    let client = this.#clients.get(used ?? '')
    if (!client) {
      client = createS3Client(used === undefined ? config : { ...config, region: used }, config.workers + 16)
      this.#clients.set(used ?? '', client)
    }
    return client
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.destroy()
  }
}

function isVanished(error: unknown): boolean {
  return error instanceof StreamError && error.code === 'source.vanished'
}
