import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as YAML from 'yaml'
import { registry } from '../registry.ts'
import { metricCatalogue } from '../telemetry/metric-catalogue.ts'
import { inputSchema, type JsonSchema } from './json-schema.ts'
import { loadConfig } from './load.ts'
import { fileSchema } from './pipeline.ts'
import { describeConfig, jsonSchema, renderReference } from './render.ts'
import { seedSchema } from './seed-form.ts'

const root = join(import.meta.dirname, '../..')
const load = (text: string) => loadConfig(text, { file: 'c.yaml', env: {}, registry })

const secrets = `
pipelines:
  - name: p
    source: { type: s3_scan, bucket: logs, lookback: 90m }
    sink:
      type: http
      endpoints: ["https://user:hunter2@example.com/in"]
      auth: { type: bearer, token: hunter2 }
      headers: { X-Api-Key: hunter2, Authorization: hunter2, X-Team: web }
      batch: { bytes: 1500KB, linger: 1500ms }
`

test('what is in force is shown with units and without secrets', () => {
  const text = describeConfig(load(secrets))
  assert.doesNotMatch(text, /hunter2/)
  assert.match(text, /https:\/\/user:\[redacted\]@example\.com\/in/)
  assert.match(text, /X-Team: web/)
  for (const line of ['lookback: 90m', 'bytes: 1500000', 'linger: 1500ms', 'save_interval: 30s', 'line_limit: 1MiB']) {
    assert.ok(text.includes(line), `${line} in\n${text}`)
  }
})

test('what is in force, read again, is the same', () => {
  const loaded = load('s3: { bucket: b }\nhttp: { endpoints: ["http://a"] }\nprocessing: { scan_interval: 1m30s }')
  const again = load(describeConfig(loaded))
  assert.deepEqual(again.pipelines, loaded.pipelines)
  assert.deepEqual(again.logging, loaded.logging)
})

test('every key of every schema has a description', () => {
  const bare: string[] = []
  const look = (schema: JsonSchema, path: string) => {
    for (const [key, below] of Object.entries(schema.properties ?? {})) {
      if (below.description === undefined && below.const === undefined) bare.push(`${path}.${key}`)
      look(below, `${path}.${key}`)
    }
    if (schema.items) look(schema.items, `${path}[]`)
    for (const variant of schema.oneOf ?? []) look(variant, path)
  }
  look(inputSchema(seedSchema), 'seed')
  look(inputSchema(fileSchema(registry)), 'file')
  assert.deepEqual(bare, [])
})

test('the examples of every component are right', () => {
  for (const definition of [...registry.sources, ...registry.sinks]) {
    assert.ok(definition.examples.length > 0, definition.type)
    for (const { title, config } of definition.examples) {
      const result = definition.config.safeParse(config)
      assert.ok(result.success, `${definition.type}: ${title}: ${result.error?.message}`)
    }
  }
})

test('docs/reference is what the schemas say (else: npm run docs)', () => {
  const directory = join(root, 'docs/reference')
  const pages = renderReference(registry, metricCatalogue)
  assert.deepEqual(renderReference(registry, metricCatalogue), pages)
  const present = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
  assert.deepEqual(present.sort(), [...pages.keys()].sort())
  for (const [name, text] of pages) assert.equal(readFileSync(join(directory, name), 'utf8'), text, name)
})

test('the schema for editors knows both forms and all defaults', () => {
  const [general, seed] = jsonSchema(registry).anyOf ?? []
  assert.deepEqual(general?.required, ['pipelines'])
  assert.deepEqual(seed?.required, ['s3', 'http'])
  const { batch_lines, flush_interval } = seed?.properties?.http?.properties ?? {}
  assert.equal(batch_lines?.default, 1000)
  assert.equal(flush_interval?.default, '1s')
  assert.doesNotMatch(JSON.stringify(general), /"kind"/)
})

const blocks = [
  ...readFileSync(join(root, 'docs/configuration.md'), 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm),
].map((match) => match[1] as string)

test('every YAML block of docs/configuration.md loads, on top of the smallest file where it is a part', () => {
  assert.ok(blocks.length > 4)
  for (const block of blocks) {
    const part = YAML.parse(block) as Record<string, unknown>
    const whole =
      'pipelines' in part ? part : { s3: { bucket: 'b' }, http: { endpoints: ['http://localhost:8080'] }, ...part }
    const env = { COLLECTOR_TOKEN: 'a', BUCKET: 'b' }
    const { warnings } = loadConfig(YAML.stringify(whole), { file: 'configuration.md', env, registry })
    assert.deepEqual(warnings, [], block)
  }
})
