import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { S3Client } from '@aws-sdk/client-s3'
import { startS3 } from '../../test/servers/s3.ts'
import { RequestWatch } from '../aws/request-watch.ts'
import { examineBucket } from './s3-examine.ts'

const live = { signal: new AbortController().signal }
const credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'geheim' }

async function told(endpoint: string, o: { readonly hasUploads?: boolean; readonly hasEndpoint?: boolean } = {}) {
  const client = new S3Client({ endpoint, region: 'eu-west-1', forcePathStyle: true, credentials, maxAttempts: 1 })
  const watch = new RequestWatch(client, () => undefined)
  const { hasUploads = true, hasEndpoint = false } = o
  const lines: string[] = []
  const at = { client, watch, bucket: 'data', prefix: 'in/', hasUploads, hasEndpoint }
  try {
    for await (const { level, text, advice } of examineBucket(at, live))
      lines.push(`${level}: ${text}${advice === undefined ? '' : ` → ${advice}`}`)
  } finally {
    client.destroy()
  }
  const text = lines.join('\n')
  assert.doesNotMatch(text, /geheim|AKIAEXAMPLE/)
  return text
}

interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A bucket that gives these answers, by method and the first name of the query. */
async function withBucket(
  answers: Readonly<Record<string, Answer>>,
  body: (endpoint: string, asked: readonly string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://x')
    const [first] = [...searchParams.keys()].filter((name) => name !== 'x-id' && name !== 'partNumber')
    const name = `${request.method} ${first ?? ''}`.trim()
    asked.push(name)
    const {
      status = 200,
      headers = {},
      body: text = '',
    } = answers[name] ?? { status: 403, body: errorOf('AccessDenied') }
    request.resume()
    response.writeHead(status, headers).end(request.method === 'HEAD' ? '' : text)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const errorOf = (code: string) => `<Error><Code>${code}</Code><Message>${code}</Message></Error>`
const noUpload = { status: 404, body: errorOf('NoSuchUpload') }
const ruleOf = (prefix: string, days: number) =>
  `<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>${prefix}</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>${days}</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`

test('rights, region, versioning and the rule that ends uploads are told, and nothing is stored', async () => {
  const answers = {
    HEAD: { headers: { 'x-amz-bucket-region': 'us-east-1' } },
    'PUT uploadId': noUpload,
    'GET versioning': { body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' },
    'GET lifecycle': { body: ruleOf('in/', 7) },
  }
  await withBucket(answers, async (endpoint, asked) => {
    const text = await told(endpoint)
    assert.match(text, /^ok: .*credentials from the configuration/m)
    assert.match(
      text,
      /^warning: .*the bucket is in us-east-1, and the configuration says eu-west-1.* → set region: us-east-1$/m,
    )
    assert.match(text, /^ok: .*we may write below s3:\/\/data\/in\//m)
    assert.match(text, /^note: .*versioning is on/m)
    assert.match(text, /^ok: .*uploads that are never completed end after 7 days/m)
    // The only PUT is a part of an upload that does not exist.
    assert.deepEqual([...new Set(asked)].toSorted(), ['GET lifecycle', 'GET versioning', 'HEAD', 'PUT uploadId'])
    // Other servers may call their region as they like.
    assert.match(await told(endpoint, { hasEndpoint: true }), /^note: .*the bucket is in us-east-1/m)
  })
})

test('without the right to write, or a rule for these keys, doctor says what is missing', async () => {
  await withBucket({ HEAD: {}, 'GET lifecycle': { body: ruleOf('elsewhere/', 7) } }, async (endpoint) => {
    const text = await told(endpoint)
    assert.match(
      text,
      /^problem: cannot write below s3:\/\/data\/in\/.*AccessDenied → the credentials need s3:PutObject/m,
    )
    assert.match(text, /^note: .*versioning cannot be looked at: the credentials have no s3:GetBucketVersioning/m)
    assert.match(text, /^warning: .*no lifecycle rule ends uploads .* → give the bucket a lifecycle rule/m)
    assert.doesNotMatch(await told(endpoint, { hasUploads: false }), /lifecycle/)
  })
})

test('a clock that is minutes off is a warning, one that S3 may refuse a problem', async () => {
  for (const [minutes, words] of [
    [4, /^warning: .*clock of this machine is \d+ min ahead of that of s3 s3:\/\/data$/m],
    [20, /^problem: .*clock of this machine is \d+ min ahead .*signed requests may be refused/m],
  ] as const) {
    const date = new Date(Date.now() - minutes * 60_000).toUTCString()
    const headers = { headers: { date } }
    await withBucket({ HEAD: headers, 'PUT uploadId': { ...noUpload, ...headers } }, async (endpoint) => {
      assert.match((await told(endpoint)).replaceAll(/ →.*/g, ''), words)
    })
  }
})

test('the embedded server, asked whether we may write, stores nothing', async () => {
  const server = await startS3()
  try {
    assert.match(await told(server.endpoint), /^ok: .*we may write/m)
    assert.deepEqual([server.uploads().length, server.read('in/')], [0, undefined])
  } finally {
    await server.close()
  }
})
