import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../config/fields.ts'
import { loadConfig } from '../config/load.ts'
import type { ConfigProblem } from '../config/pipeline.ts'
import type { MetricSpec } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { registry } from '../registry.ts'
import { metricCatalogue } from './metric-catalogue.ts'
import { copyJob, pushgatewayConfig } from './pushgateway-config.ts'

const seedForm = 's3: { bucket: weblogs }\nhttp: { endpoints: ["http://localhost:8080"] }\n'
const generalForm =
  'pipelines: [{ name: a, source: { type: s3_scan, bucket: b }, sink: { type: http, endpoints: ["http://localhost:1"] } }]\n'
const load = (text: string, env: Record<string, string> = {}) => loadConfig(text, { file: 'c.yaml', env, registry })

function problemsOf(text: string): string[] {
  try {
    load(text)
  } catch (error) {
    assert.ok(error instanceof StreamError && error.code === 'config.invalid', String(error))
    return (error.data.problems as ConfigProblem[]).map(({ where, path, message }) => `${where} ${path}: ${message}`)
  }
  return []
}

test('without the section nothing is pushed, in either form', () => {
  assert.equal(load(seedForm).pushgateway, undefined)
  assert.equal(load(generalForm).pushgateway, undefined)
})

test('both forms of the file take the section, and its place in the environment', () => {
  for (const form of [seedForm, generalForm]) {
    const text = `${form}pushgateway: { endpoint: "https://gw.example.com/push", interval: 15s, labels: { team: logs } }\n`
    assert.deepEqual(load(text).pushgateway, {
      endpoint: 'https://gw.example.com/push',
      job: 's3-streamer',
      labels: { team: 'logs' },
      interval: 15_000,
      timeout: 5000,
      on_end: 'keep',
      tls: { insecure_skip_verify: false },
    })
    const env = {
      S3_STREAMER_PUSHGATEWAY_ENDPOINT: 'http://localhost:9091',
      S3_STREAMER_PUSHGATEWAY_INSTANCE: 'host-1',
      S3_STREAMER_PUSHGATEWAY_AUTH_TYPE: 'bearer',
      S3_STREAMER_PUSHGATEWAY_AUTH_TOKEN: 'hunter2',
    }
    const { warnings, pushgateway } = load(form, env)
    assert.deepEqual(warnings, [])
    assert.equal(pushgateway?.endpoint, 'http://localhost:9091')
    assert.equal(pushgateway.instance, 'host-1')
    assert.ok(pushgateway.auth?.type === 'bearer' && pushgateway.auth.token instanceof Secret)
  }
})

test('C1: an address without http:// is taken, as the clients of the gateway do', () => {
  for (const [given, expected] of [
    ['localhost:9091', 'http://localhost:9091'],
    ['10.0.0.1', 'http://10.0.0.1'],
    ['http://localhost:9091', 'http://localhost:9091'],
  ])
    assert.equal(pushgatewayConfig.parse({ endpoint: given, job: copyJob }).endpoint, expected)
})

test('what cannot work is told with its place', () => {
  for (const form of [seedForm, generalForm]) {
    const line = form.split('\n').length
    const at = (text: string) => problemsOf(`${form}pushgateway: ${text}\n`)
    const url = 'must be the URL of the gateway without query, like "http://localhost:9091"'
    assert.deepEqual(at('{ endpoint: "ftp://x" }'), [`c.yaml:${line}:26 pushgateway.endpoint: ${url}`])
    for (const wrong of ['http://a b', 'http://x?token=1', 'http://', ''])
      assert.match(at(`{ endpoint: "${wrong}" }`).join(), /pushgateway\.endpoint: must be the URL/, wrong)
    assert.match(at('{ job: x }').join(), /pushgateway: .*endpoint.*|pushgateway\.endpoint: /)
    assert.match(at('{ endpoint: "localhost", job: "" }').join(), /pushgateway\.job: /)
    assert.match(at('{ endpoint: "localhost", interval: 5ms }').join(), /pushgateway\.interval: "5ms" is out of range/)
    assert.match(at('{ endpoint: "localhost", on_end: drop }').join(), /pushgateway\.on_end: /)
  }
})

test('labels that Prometheus would refuse, or that would make two series one, are told', () => {
  const at = (label: string) =>
    problemsOf(`${seedForm}pushgateway: { endpoint: localhost, labels: { "${label}": x } }\n`).join()
  for (const wrong of ['a-b', '1a', '__name', 'a b'])
    assert.match(at(wrong), /pushgateway\.labels.*is no name of a label/, wrong)
  for (const own of ['job', 'instance']) assert.match(at(own), /has a key of its own: pushgateway\./)
  // `endpoint` and `level` were taken once: series of several endpoints became one, and the gateway refused every push.
  const ofSeries = metricCatalogue.flatMap(({ tables }) => tables.flatMap((table) => Object.values<MetricSpec>(table)))
  for (const taken of ['pipeline', 'le', ...new Set(ofSeries.flatMap(({ labels }) => labels ?? []))])
    assert.match(at(taken), /is a label of the series themselves: choose another name/, taken)
  assert.equal(at('_team1'), '')
})
