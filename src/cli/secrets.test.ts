import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startTestbed } from '../../test/servers/testbed.ts'

const secret = 'hunter2-hunter2-hunter2'
/** As it is, as base64 in a basic authorization, and in a URL. */
/** In the path of a URL, as webhooks have it. */
const step = 'Xa81bQ0zpLm2nRt7uVw5yKd3'
const shapes = [
  secret,
  step,
  Buffer.from(`u:${secret}`).toString('base64').replace(/=+$/, ''),
  encodeURIComponent(secret),
]

function assertNoSecret(text: string, where: string): void {
  for (const shape of shapes) {
    const at = text.indexOf(shape)
    assert.equal(at, -1, `${where}: …${text.slice(Math.max(0, at - 200), at + 60)}…`)
  }
}

async function firstEvent(url: string): Promise<string> {
  const response = await fetch(url)
  let text = ''
  for await (const piece of response.body ?? []) {
    text += Buffer.from(piece).toString()
    if (/\ndata: .*\n\n/.test(text)) break
  }
  return text
}

// facts/seeds.md A16.21: secrets in places where others can read them.
test('A16.21: no secret of any field or URL is in the log at debug level, nor in what the port tells, even if a receiver sends back what it was sent', async () => {
  await using bed = await startTestbed()
  bed.s3.put('web/a.gz', gzipSync('one\ntwo\n'))
  bed.input.fault = (n, { headers, url }) => ({
    status: [401, 400, 503][n % 3] ?? 500,
    body: JSON.stringify({ error: { type: 'x', reason: `sent ${JSON.stringify(headers)} to ${url}` } }),
  })
  const withPassword = bed.input.url.replace('http://', `http://u:${secret}@`)
  const source = `{ type: s3_scan, bucket: logs, prefix: web/, region: us-east-1, endpoint: "${bed.s3.endpoint}" }`
  const state = (name: string) => `    state: { file_path: "${join(bed.folder, name)}.json" }\n`
  const pipeline = (name: string, sink: string, from = source) =>
    `  - name: ${name}\n    source: ${from}\n    sink: { ${sink}, batch: { linger: 10ms } }\n${state(name)}`
  const retry = 'retry: { min: 10ms, max: 20ms }'
  const login = `auth: { type: basic, username: u, password: ${secret} }`
  const sftp = (name: string, how: string) =>
    pipeline(
      name,
      `type: http, endpoints: ["${withPassword}"]`,
      `{ type: sftp, host: 127.0.0.1, port: 1, username: u, path: /in, connect_timeout: 200ms, host_key_fingerprint: "SHA256:${'A'.repeat(43)}", ${how} }`,
    )
  const general = `logging: { level: debug }
health: { address: "127.0.0.1:0" }
console: { token: ${secret} }
pushgateway: { endpoint: "${bed.input.url}", interval: 100ms, timeout: 300ms, auth: { type: basic, username: u, password: ${secret} } }
otlp: { enabled: true, timeout: 300ms, endpoint: "${bed.input.url}", protocol: http, export_interval: 100ms, headers: { x-key: ${secret} } }
pipelines:`
  const first = [
    pipeline('url', `type: http, endpoints: ["${withPassword}"], headers: { X-Api-Key: ${secret} }, ${retry}`),
    pipeline(
      'bearer',
      `type: http, endpoints: ["${bed.input.url}"], auth: { type: bearer, token: ${secret} }, ${retry}`,
    ),
    pipeline('basic', `type: elasticsearch, index: logs, endpoints: ["${bed.input.url}"], ${login}, ${retry}`),
    pipeline(
      'api-key',
      `type: elasticsearch, index: logs, endpoints: ["${bed.input.url}"], auth: { type: api_key, api_key: ${secret} }, ${retry}`,
    ),
    pipeline(
      'kafka',
      `type: kafka, brokers: ["127.0.0.1:1"], topic: t, auth: { mechanism: plain, username: u, password: ${secret} }, ${retry}`,
    ),
    sftp('password', `password: ${secret}`),
    pipeline('path', `type: http, endpoints: ["${bed.input.url}hook/${step}?sig=${secret}"], ${retry}`),
    pipeline('user', `type: http, endpoints: ["${bed.input.url.replace('http://', `http://${secret}@`)}"], ${retry}`),
  ]
  // A key that is none ends the start.
  const second = [
    sftp('key', `private_key: "${secret}", passphrase: "${secret}"`),
    pipeline(
      'api-key',
      `type: elasticsearch, index: logs, endpoints: ["${bed.input.url}"], auth: { type: api_key, api_key: ${secret} }, ${retry}`,
    ),
  ]
  const write = (pipelines: readonly string[]) => writeFileSync(bed.config, `${general}\n${pipelines.join('')}`)
  const soft = new AbortController()
  const hard = new AbortController()
  const worried = new Set<string>()
  const allWorried = Promise.withResolvers<void>()
  const hear = (text: string | Buffer) => {
    for (const name of String(text).matchAll(/"level":"(?:warn|error)".*"pipeline":"([\w-]+)"/g))
      worried.add(name[1] ?? '')
    if (worried.size === first.length) allWorried.resolve()
  }
  let out = ''
  write(first)
  const running = bed.run(['run'], {
    soft: soft.signal,
    hard: hard.signal,
    stdout: (text) => {
      out += text.toString()
      hear(text)
    },
  })
  await Promise.race([allWorried.promise, running])
  const [, address] = /"(http:\/\/127\.0\.0\.1:\d+)"/.exec(out) ?? / at (http:\/\/127\.0\.0\.1:\d+)/.exec(out) ?? []
  for (const path of [
    'health',
    'ready',
    'metrics',
    'api/status',
    'api/config',
    'api/runs',
    'api/objects',
    'api/quarantine',
    'api/none',
  ]) {
    const text = await (await fetch(`${address}/${path}`)).text()
    assert.ok(text.length > 0)
    assertNoSecret(text, path)
  }
  assertNoSecret(await firstEvent(`${address}/api/events`), 'events')
  // Nothing of it is ever delivered: there is nothing to wait for.
  soft.abort()
  hard.abort()
  const { err } = await running
  assert.equal(worried.size, first.length, out + err)
  assertNoSecret(out, 'standard output')
  assertNoSecret(err, 'standard error')
  write(second)
  for (const words of [
    ['run', '--once'],
    ['check'],
    ['quarantine', 'list'],
    ['state', 'show'],
    ['history', '--objects'],
  ]) {
    const answer = await bed.run(words)
    assertNoSecret(answer.out + answer.err, words.join(' '))
  }
})
