/**
 * fauxqs (an S3 emulator from npm, https://github.com/kibertoad/fauxqs) behind our front, so that it can be made to fail.
 * Objects are in its memory. What it does wrong, and nothing here mends (as of 2.4.1): see s3.test.ts; where that
 * matters, use startMemoryS3.
 */
import { startFauxqs } from 'fauxqs'
import { Agent, request as send } from 'undici'
import type { S3Request } from './s3-faults.ts'
import { type S3Answer, type S3Front, startFront } from './s3-front.ts'
import { archivedAnswer, type PutOptions } from './s3-memory.ts'

export interface FauxqsS3 extends S3Front {
  readonly bucket: string
  put(key: string, body: Buffer | string, options?: PutOptions): Promise<void>
}

export async function startS3(options: { readonly bucket?: string; readonly trace?: boolean } = {}): Promise<FauxqsS3> {
  const bucket = options.bucket ?? 'logs'
  const fauxqs = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false })
  fauxqs.createBucket(bucket)
  const target = `http://127.0.0.1:${fauxqs.port}`
  const agent = new Agent({ connections: 32 })
  const overrides = new Map<string, PutOptions>()

  async function forward(request: S3Request): Promise<S3Answer> {
    const stored = overrides.get(request.key)
    if (request.operation === 'put' || request.operation === 'delete') overrides.delete(request.key)
    if (request.operation === 'get' && /^(GLACIER|DEEP_ARCHIVE)$/.test(stored?.storageClass ?? '')) {
      return archivedAnswer(stored?.storageClass ?? '', request)
    }
    const response = await send(`${target}${request.url}`, {
      method: request.method as 'GET',
      headers: endToEnd(request.headers),
      dispatcher: agent,
      ...(request.rawBody.length > 0 ? { body: request.rawBody } : {}),
    })
    const given = endToEnd(response.headers)
    if (request.operation === 'list') {
      const text = withOverrides(await response.body.text(), overrides)
      const headers = { 'content-type': 'application/xml' }
      return { status: response.statusCode, headers, body: Buffer.from(text) }
    }
    if (stored?.lastModified) given['last-modified'] = stored.lastModified.toUTCString()
    return { status: response.statusCode, headers: given, body: response.body as AsyncIterable<Buffer> }
  }

  const front = await startFront(forward, options)
  return Object.assign(front, {
    bucket,
    put: async (key: string, body: Buffer | string, put: PutOptions = {}) => {
      const path = key.split('/').map(encodeURIComponent).join('/')
      const response = await send(`${target}/${bucket}/${path}`, { method: 'PUT', body, dispatcher: agent })
      await response.body.dump()
      if (response.statusCode !== 200) throw new Error(`cannot put ${key}: ${response.statusCode}`)
      overrides.set(key, put)
    },
    close: closing(front, async () => {
      await agent.destroy()
      await fauxqs.stop()
    }),
  })
}

/** Headers that are passed on. */
function endToEnd(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !hopByHop.has(name)) passed[name] = value.toString()
  }
  return passed
}

/** fauxqs lets nobody set times and storage classes: they are written into its list answers. */
function withOverrides(xml: string, overrides: ReadonlyMap<string, PutOptions>): string {
  return xml.replaceAll(/<Contents>.*?<\/Contents>/gs, (contents) => {
    const key = /<Key>(.*?)<\/Key>/s.exec(contents)?.[1] ?? ''
    const { lastModified, storageClass } = overrides.get(unescapeXml(key)) ?? {}
    let text = contents
    if (lastModified) text = text.replace(/(<LastModified>)[^<]*/, `$1${lastModified.toISOString()}`)
    if (storageClass) text = text.replace(/(<StorageClass>)[^<]*/, `$1${storageClass}`)
    return text
  })
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replaceAll(/&(\w+);/g, (whole, name: string) => named[name] ?? whole)
}

const hopByHop = new Set(['connection', 'keep-alive', 'host', 'transfer-encoding', 'expect'])

function closing(front: S3Front, after: () => Promise<void>): () => Promise<void> {
  const close = front.close
  return async () => {
    await close()
    await after()
  }
}
