/**
 * One page of a list. The SDK's XML parser takes three quarters of the time of a page, so the few elements that matter are
 * cut out by hand; request, signature, retries and errors stay with the SDK, and so does any page that looks unusual.
 */
import { Readable } from 'node:stream'
import { ListObjectsV2Command, type ListObjectsV2CommandInput, type S3Client } from '@aws-sdk/client-s3'

export interface ListedKey {
  readonly key: string
  readonly etag: string | undefined
  readonly size: number | undefined
  /** ms since the epoch, 0 if the server does not tell. */
  readonly lastModifiedMs: number
}

export interface ListPage {
  readonly objects: readonly ListedKey[]
  readonly prefixes: readonly string[]
  readonly isTruncated: boolean
  readonly nextToken: string | undefined
}

/** Throws what the SDK throws. */
export async function listPage(
  client: S3Client,
  input: ListObjectsV2CommandInput,
  abortSignal: AbortSignal,
): Promise<ListPage> {
  // Keys may hold characters that XML 1.0 cannot: url is the encoding that always works.
  const command = new ListObjectsV2Command({ EncodingType: 'url', ...input })
  let page: ListPage | undefined
  command.middlewareStack.addRelativeTo(
    withBody((body) => {
      page = parseListPage(body.toString())
      return page === undefined ? body : empty
    }),
    { name: 'listPage', relation: 'after', toMiddleware: 'deserializerMiddleware' },
  )
  const parsed = await client.send(command, { abortSignal })
  if (page !== undefined) return page
  const decoded = parsed.EncodingType === 'url' ? decodeKey : (key: string) => key
  return {
    objects: (parsed.Contents ?? []).flatMap(({ Key, ETag, Size, LastModified }) =>
      Key === undefined
        ? []
        : [{ key: decoded(Key), etag: ETag || undefined, size: Size, lastModifiedMs: LastModified?.getTime() ?? 0 }],
    ),
    prefixes: (parsed.CommonPrefixes ?? []).map(({ Prefix = '' }) => decoded(Prefix)),
    isTruncated: parsed.IsTruncated ?? false,
    nextToken: parsed.NextContinuationToken,
  }
}

const empty = Buffer.from('<ListBucketResult></ListBucketResult>')

/** A middleware that puts what `replace` gives of a good answer in the place of its body. */
function withBody(replace: (body: Buffer) => Buffer) {
  return <Request, Result extends { response?: unknown }>(next: (request: Request) => Promise<Result>) =>
    async (request: Request): Promise<Result> => {
      const result = await next(request)
      const { response } = result
      if (!isGood(response)) return result
      const chunks: Buffer[] = []
      for await (const chunk of response.body) chunks.push(chunk as Buffer)
      response.body = Readable.from([replace(Buffer.concat(chunks))])
      return result
    }
}

function isGood(response: unknown): response is { body: Readable } {
  if (typeof response !== 'object' || response === null || !('statusCode' in response)) return false
  return response.statusCode === 200 && 'body' in response && response.body instanceof Readable
}

/**
 * The page, or undefined if the text is not plainly a ListBucketResult: with attributes, namespaces, CDATA or comments
 * inside it is left to a real parser. Text in XML has no raw `<`, so a tag that is found is a tag.
 */
export function parseListPage(xml: string): ListPage | undefined {
  const start = xml.indexOf('<ListBucketResult')
  if (start < 0 || !xml.trimEnd().endsWith('</ListBucketResult>')) return undefined
  if (xml.includes('<!', start) || xml.includes('<Contents ') || xml.includes('<Key ') || xml.includes('<Prefix ')) {
    return undefined
  }
  const decoded = textOf(xml, '<EncodingType>') === 'url' ? decodeKey : (key: string) => key
  const objects: ListedKey[] = []
  const prefixes: string[] = []
  for (let at = xml.indexOf('<Contents>', start); at >= 0; ) {
    const end = xml.indexOf('</Contents>', at)
    const item = xml.slice(at, end)
    const key = textOf(item, '<Key>')
    if (end < 0 || key === undefined) return undefined
    const size = Number(textOf(item, '<Size>') || Number.NaN)
    const modified = Date.parse(textOf(item, '<LastModified>') ?? '')
    objects.push({
      key: decoded(key),
      etag: textOf(item, '<ETag>') || undefined,
      size: Number.isNaN(size) ? undefined : size,
      lastModifiedMs: Number.isNaN(modified) ? 0 : modified,
    })
    at = xml.indexOf('<Contents>', end)
  }
  for (let at = xml.indexOf('<CommonPrefixes>', start); at >= 0; ) {
    const end = xml.indexOf('</CommonPrefixes>', at)
    const prefix = textOf(xml.slice(at, end), '<Prefix>')
    if (end < 0 || prefix === undefined) return undefined
    prefixes.push(decoded(prefix))
    at = xml.indexOf('<CommonPrefixes>', end)
  }
  return {
    objects,
    prefixes,
    isTruncated: textOf(xml, '<IsTruncated>')?.trim() === 'true',
    nextToken: textOf(xml, '<NextContinuationToken>') || undefined,
  }
}

/** Text after the first such tag. */
function textOf(xml: string, tag: string): string | undefined {
  const start = xml.indexOf(tag)
  if (start < 0) return undefined
  const text = xml.slice(start + tag.length, xml.indexOf('<', start + tag.length))
  if (!text.includes('&')) return text
  // By far the most: the quotes of an ETag.
  const quoted = text.replaceAll('&quot;', '"')
  return quoted.includes('&')
    ? text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(amp|lt|gt|quot|apos));/gi, unescaped)
    : quoted
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescaped(whole: string, hex?: string, decimal?: string, name?: string): string {
  if (name !== undefined) return entities[name] ?? whole
  const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
  return code <= 0x10ffff ? String.fromCodePoint(code) : whole
}

/** S3's url encoding: `+` is a space. A key that does not decode is left as it is. */
function decodeKey(raw: string): string {
  if (!raw.includes('%') && !raw.includes('+')) return raw
  try {
    return decodeURIComponent(raw.replaceAll('+', ' '))
  } catch {
    return raw
  }
}
