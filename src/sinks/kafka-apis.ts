/** Which requests a broker is sent, in the newest version that both sides speak. */
import {
  type API,
  apiVersionsV0,
  apiVersionsV3,
  type Connection,
  describeConfigsV4,
  initProducerIdV1,
  initProducerIdV2,
  initProducerIdV3,
  initProducerIdV4,
  metadataV7,
  metadataV8,
  metadataV9,
  metadataV10,
  metadataV11,
  metadataV12,
} from '@platformatic/kafka'
import { StreamError } from '../core/errors.ts'
import { version } from '../telemetry/version.ts'

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

/** A connection that is ready: authenticated, and it is known what the broker speaks. */
export interface Link {
  readonly address: BrokerAddress
  readonly connection: Connection
  readonly versions: ReadonlyMap<number, { readonly min: number; readonly max: number }>
  /** The broker wants nothing before this time; ms of the monotonic clock. */
  pausedUntilMs: number
  /** True when it has answered more than which versions it speaks. */
  isProven: boolean
}

type MetadataApi = typeof metadataV12.api
type InitProducerIdApi = typeof initProducerIdV4.api
/** Newest first. Metadata 7 and InitProducerId 1 came with Kafka 2.1 and before. */
export const metadataApis: readonly MetadataApi[] = [
  metadataV12,
  metadataV11,
  metadataV10,
  metadataV9,
  metadataV8,
  metadataV7,
].map(({ api }) => api)
export const initProducerIdApis: readonly InitProducerIdApi[] = [
  initProducerIdV4,
  initProducerIdV3,
  initProducerIdV2,
  initProducerIdV1,
].map(({ api }) => api)

/** With Kafka 2.8. */
export const describeConfigsApis = [describeConfigsV4.api]

/** Metadata of one topic. Errors of topics are data here; the library throws them with the answer inside. */
export async function metadataOf(api: MetadataApi, connection: Connection, topic: string) {
  try {
    // The rights are in the answer of versions 8 to 12; older ones leave the wish out.
    return await api.async(connection, [topic], false, true)
  } catch (error) {
    if (error instanceof AggregateError && 'response' in error && error.response !== undefined)
      return error.response as Awaited<ReturnType<MetadataApi['async']>>
    throw error
  }
}

export async function versionsOf(connection: Connection): Promise<Link['versions']> {
  const ask = async () => {
    try {
      return await apiVersionsV3.api.async(connection, 's3-streamer', version)
    } catch (error) {
      // KIP-511: a broker that is older than version 3 says so in the form of version 0.
      if (!(error instanceof AggregateError)) throw error
      return await apiVersionsV0.api.async(connection, '', '')
    }
  }
  const { apiKeys } = await ask()
  return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }]))
}

export function newest<A extends API<never, unknown>>(link: Link, apis: readonly A[], name: string): A {
  const range = link.versions.get(apis[0]?.key ?? -1)
  const api = apis.find(({ version }) => range !== undefined && version >= range.min && version <= range.max)
  if (!api) throw tooOld(nameOf(link.address), name, range)
  return api
}

export function tooOld(broker: string, api: string, range: { min: number; max: number } | undefined): StreamError {
  const speaks = range ? `versions ${range.min} to ${range.max}` : 'none'
  return new StreamError(
    'sink.access',
    `cannot write to ${broker}: of ${api} it speaks ${speaks}, and this sink none of those (Kafka 2.1 or later is needed)`,
  )
}

/** `host:port`, as the configuration writes it. */
export function nameOf({ host, port }: BrokerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
