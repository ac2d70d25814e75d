/** ListObjectsV2: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
import type { ServerResponse } from 'node:http'
import { type S3Fault, send } from './s3-answer.ts'
import type { State } from './s3-state.ts'
import type { ListPage } from './s3-store.ts'
import { escapeXml, type S3Request, s3Namespace, urlEncodeKey, xmlHeader } from './s3-wire.ts'

export function serveList(
  state: State,
  request: S3Request,
  response: ServerResponse,
  fault: S3Fault | undefined,
): Promise<void> | undefined {
  const { query, bucket } = request
  const asked = {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    startAfter: query.get('start-after') ?? '',
    token: query.get('continuation-token') ?? '',
    maxKeys: Math.min(1000, Number(query.get('max-keys') ?? 1000)),
  }
  const encoded = query.get('encoding-type') === 'url' ? urlEncodeKey : escapeXml
  const page = state.store.list(asked)
  const one = (name: string, text: string | undefined) => (text === undefined ? '' : `<${name}>${text}</${name}>`)
  const given = (name: string, text: string) => (text === '' ? '' : one(name, encoded(text)))
  const xml =
    `${xmlHeader}<ListBucketResult ${s3Namespace}>${one('Name', escapeXml(bucket))}` +
    `<Prefix>${encoded(asked.prefix)}</Prefix>${given('Delimiter', asked.delimiter)}` +
    given('StartAfter', asked.startAfter) +
    (asked.token === '' ? '' : one('ContinuationToken', asked.token)) +
    one('NextContinuationToken', page.nextToken) +
    one('KeyCount', String(page.objects.length + page.prefixes.length)) +
    one('MaxKeys', String(asked.maxKeys)) +
    (query.get('encoding-type') === 'url' ? '<EncodingType>url</EncodingType>' : '') +
    `${one('IsTruncated', String(page.nextToken !== undefined))}${contentsXml(page, encoded, !state.listWithoutSize)}</ListBucketResult>`
  const body = Buffer.from(xml)
  const headers = { 'content-type': 'application/xml', 'content-length': String(body.length) }
  return send(undefined, response, 200, headers, body, fault)
}

function contentsXml(page: ListPage, encoded: (key: string) => string, withSize: boolean): string {
  let xml = ''
  for (const [key, { etag, size, lastModified, storageClass }] of page.objects) {
    xml +=
      `<Contents><Key>${encoded(key)}</Key><LastModified>${lastModified.toISOString()}</LastModified>` +
      `<ETag>&quot;${etag.slice(1, -1)}&quot;</ETag>${withSize ? `<Size>${size}</Size>` : ''}` +
      `<StorageClass>${storageClass}</StorageClass></Contents>`
  }
  for (const prefix of page.prefixes) xml += `<CommonPrefixes><Prefix>${encoded(prefix)}</Prefix></CommonPrefixes>`
  return xml
}
