/** The configuration for people and editors: as it is in force, as JSON Schema, as reference pages. */
import * as YAML from 'yaml'
import type { Registry } from '../core/component.ts'
import { presets } from '../formats/presets.ts'
import { formatSchema } from '../formats/schema.ts'
import type { MetricGroup } from '../telemetry/metric-catalogue.ts'
import { Secret } from './fields.ts'
import { Hidden, secretKey, secretsOf } from './hidden.ts'
import { inputSchema, isMap, type JsonSchema, schemaOfKey } from './json-schema.ts'
import { fileSchema, type LoadedConfig } from './pipeline.ts'
import { metricsPage } from './render-metrics.ts'
import { seedSchema } from './seed-form.ts'

/** What is in force, in the general form and with all defaults; secrets are hidden. */
export function describeConfig(loaded: LoadedConfig): string {
  const { pipelines, logging, otlp, health, console, pushgateway, schema } = loaded
  const all = { pipelines, logging, otlp, health, console, pushgateway }
  return YAML.stringify(shown(schema, all, new Hidden(secretsOf(all))), { lineWidth: 0 })
}

function shown(schema: JsonSchema, value: unknown, hidden: Hidden, key = ''): unknown {
  if (value instanceof Secret) return value.toString()
  if (typeof value === 'number' && schema.kind === 'duration') return showDuration(value)
  if (typeof value === 'number' && schema.kind === 'size') return showSize(value)
  if (Array.isArray(value)) return value.map((item, i) => shown(schemaOfKey(schema, value, i) ?? {}, item, hidden, key))
  if (isMap(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    return Object.fromEntries(
      entries.map(([name, item]) => [name, shown(schemaOfKey(schema, value, name) ?? {}, item, hidden, name)]),
    )
  }
  if (typeof value !== 'string') return value
  // Headers like Authorization and X-Api-Key are plain text in the schema, and so are URLs with a password in them.
  if (secretKey.test(key)) return '[redacted]'
  // Short passwords are no secrets elsewhere, since they may be words of any text.
  return hidden.in(value.replace(/^(\w+:\/\/[^/:@\s]*):[^/@\s]*@/, '$1:[redacted]@'))
}

function showDuration(ms: number): string {
  const units = [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const
  for (const [unit, unitMs] of units) if (ms >= unitMs && ms % unitMs === 0) return `${ms / unitMs}${unit}`
  return ms === 0 ? '0s' : `${ms}ms`
}

function showSize(bytes: number): string | number {
  for (const [unit, unitBytes] of [['GiB', 2 ** 30] as const, ['MiB', 2 ** 20] as const, ['KiB', 2 ** 10] as const]) {
    if (bytes >= unitBytes && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`
  }
  return bytes
}

const durationPattern = '^(0|((\\d+(\\.\\d+)?|\\.\\d+)(ns|us|µs|ms|s|m|h|d))+)$'
const sizePattern = '^\\d+(\\.\\d+)?\\s*([KMGT]i?B|[KMG]|B)?$'

/** JSON Schema of the file, either form, for editors. */
export function jsonSchema(registry: Registry): JsonSchema {
  const general = forEditors(inputSchema(fileSchema(registry)))
  const seed = forEditors(inputSchema(seedSchema))
  delete general.$schema
  delete seed.$schema
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 's3-streamer configuration',
    anyOf: [general, { ...seed, required: ['s3', 'http'] }],
  }
}

/** Any text may be `${NAME}`, so patterns and types have to let that pass. */
function forEditors(schema: JsonSchema): JsonSchema {
  const { kind, ...rest } = schema
  const result: JsonSchema = { ...rest }
  const placeholder = { type: 'string', pattern: '\\$\\{' }
  if (kind === 'duration' || kind === 'size') {
    delete result.type
    const pattern = kind === 'duration' ? durationPattern : sizePattern
    const number = kind === 'duration' ? { const: 0 } : { type: 'integer', minimum: 0 }
    result.anyOf = [{ type: 'string', pattern }, number, placeholder]
  } else if (['integer', 'number', 'boolean'].includes(String(rest.type)) || rest.format || rest.pattern || rest.enum) {
    const { description, default: preset, examples, ...bare } = rest
    const about = { description, default: preset, examples }
    return { ...JSON.parse(JSON.stringify(about)), anyOf: [bare, placeholder] }
  }
  if (rest.properties) {
    result.properties = Object.fromEntries(Object.entries(rest.properties).map(([key, at]) => [key, forEditors(at)]))
  }
  if (rest.items) result.items = forEditors(rest.items)
  if (typeof rest.additionalProperties === 'object') {
    result.additionalProperties = forEditors(rest.additionalProperties)
  }
  if (rest.oneOf) result.oneOf = rest.oneOf.map(forEditors)
  // One of several kinds of value, a size among them.
  if (rest.anyOf?.some((one) => one.kind !== undefined)) result.anyOf = rest.anyOf.map(forEditors)
  return result
}

/** The pages of docs/reference: file name -> text. The same registry and catalogue give the same text. */
export function renderReference(registry: Registry, catalogue: readonly MetricGroup[]): Map<string, string> {
  const pages = new Map<string, string>()
  const file = inputSchema(fileSchema(registry))
  const lists = { sources: registry.sources, sinks: registry.sinks } as const
  for (const [kind, definitions] of Object.entries(lists)) {
    for (const { type, summary, notes, config, examples } of definitions) {
      const shownExamples = examples.map(
        (example) =>
          `### ${example.title}\n\n\`\`\`yaml\n${YAML.stringify({ [kind.slice(0, -1)]: example.config }, { lineWidth: 0 })}\`\`\`\n`,
      )
      pages.set(
        `${kind}/${type}.md`,
        page(`${kind.slice(0, -1)}: ${type}`, [
          summary,
          `## Keys\n\n${table(inputSchema(config))}`,
          `## Notes\n\n${notes.trim()}`,
          ...(shownExamples.length > 0 ? ['## Examples', ...shownExamples] : []),
        ]),
      )
    }
  }
  pages.set('formats.md', page('Formats', [formatsIntro, `## Keys\n\n${table(inputSchema(formatSchema))}`, builtIn()]))
  pages.set(
    'file.md',
    page('The file: pipelines', [
      fileIntro,
      `Sources: ${links('sources', registry.sources)}. Sinks: ${links('sinks', registry.sinks)}. Formats: [formats](formats.md).`,
      `## Keys\n\n${table(file, { skip: ['pipelines[].source', 'pipelines[].sink', 'pipelines[].formats', 'formats'] })}`,
    ]),
  )
  pages.set(
    'seed-form.md',
    page('The file: one pipeline to Edge Delta', [
      seedIntro,
      `## Keys\n\n${table(inputSchema(seedSchema), { skip: ['processing.log_formats', 'formats'] })}`,
    ]),
  )
  pages.set('metrics.md', metricsPage(catalogue))
  pages.set('config.schema.json', `${JSON.stringify(jsonSchema(registry), null, 2)}\n`)
  return pages
}

const formatsIntro =
  'An entry of `processing.log_formats`, of `formats` at the top of the file, or of `formats` of a pipeline. ' +
  'The order is the order in which they are tried. Your formats come before the built-in ones.'
const fileIntro =
  'One or several pipelines in one file. Each is a source, a sink and what lies between them. ' +
  'Times have units (`500ms`, `15s`, `1m30s`, `2h`, `7d`), sizes too if you like (`1048576`, `8MiB`).'
const seedIntro =
  'The file without `pipelines`: one pipeline from an S3 bucket to Edge Delta, as the S3-to-Edge-Delta streamer had it. ' +
  'Files of that program run as they are.'

function builtIn(): string {
  const rows = presets.map(
    ({ name, glob, contentType, decoder }) => `| \`${name}\` | ${code(glob)} | \`${contentType}\` | \`${decoder}\` |`,
  )
  return `## Built-in formats\n\n| name | keys | content type | decoder |\n|---|---|---|---|\n${rows.join('\n')}`
}

function links(kind: string, definitions: ReadonlyArray<{ readonly type: string }>): string {
  return definitions.map(({ type }) => `[${type}](${kind}/${type}.md)`).join(', ')
}

function page(title: string, parts: readonly string[]): string {
  const made = '<!-- Made by `npm run docs` from the schemas in src/. -->'
  return `${[`# ${title}`, made, ...parts.map((part) => part.trim())].join('\n\n')}\n`
}

/** A row for each key, those inside maps with their path. */
function table(schema: JsonSchema, o: { readonly skip?: readonly string[] } = {}): string {
  const rows: string[] = []
  const add = (at: JsonSchema, path: string) => {
    for (const [key, below] of Object.entries(at.properties ?? {})) {
      const name = path === '' ? key : `${path}.${key}`
      rows.push(row(name, below, at.required?.includes(key) ?? false))
      if (o.skip?.includes(name)) continue
      add(below, name)
      if (below.items?.properties) add(below.items, `${name}[]`)
      for (const variant of below.oneOf ?? []) {
        const type = String(variant.properties?.type?.const)
        const { type: _, ...rest } = variant.properties ?? {}
        add({ ...variant, properties: rest }, `${name} (${type})`)
      }
    }
  }
  add(schema, '')
  return ['| key | type | default | description |', '|---|---|---|---|', ...rows].join('\n')
}

function row(name: string, schema: JsonSchema, required: boolean): string {
  const text = (schema.description ?? '').replaceAll('|', '\\|')
  const example = schema.examples?.[0] === undefined ? '' : ` Example: ${code(plain(schema.examples[0]))}.`
  return `| \`${name}\` | ${typeOf(schema)} | ${defaultOf(schema, required)} | ${text}${example} |`
}

function typeOf(schema: JsonSchema): string {
  if (schema.kind) return schema.kind === 'secret' ? 'text (secret)' : schema.kind
  if (schema.const !== undefined) return code(String(schema.const))
  if (schema.enum) return schema.enum.map((one) => code(String(one))).join(', ')
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(' or ')
  if (schema.oneOf) return schema.oneOf.map((one) => code(String(one.properties?.type?.const))).join(', ')
  if (schema.items) return `list of ${schema.items.properties ? 'maps' : typeOf(schema.items)}`
  if (schema.properties || schema.type === 'object') return 'map'
  if (schema.type === 'integer' || schema.type === 'number') return range(schema)
  return schema.type === 'boolean' ? '`true`, `false`' : schema.format === 'uri' ? 'URL' : 'text'
}

function range({ type, minimum, maximum }: JsonSchema): string {
  const kind = type === 'integer' ? 'whole number' : 'number'
  const limit = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? undefined : maximum
  if (minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER)
    return limit === undefined ? kind : `${kind} up to ${limit}`
  return limit === undefined ? `${kind} from ${minimum}` : `${kind}, ${minimum} to ${limit}`
}

function defaultOf(schema: JsonSchema, required: boolean): string {
  if (schema.const !== undefined) return ''
  const { default: value } = schema
  if (value === undefined) return required ? '**required**' : ''
  if (isMap(value) || (Array.isArray(value) && value.length === 0)) return ''
  return code(plain(value))
}

function plain(value: unknown): string {
  return value === '' ? '""' : typeof value === 'string' ? value.replaceAll('\t', '\\t') : JSON.stringify(value)
}

function code(text: string): string {
  const safe = text.replaceAll('|', '\\|')
  return safe.includes('`') || safe !== safe.trim() || safe === '' ? `\`\` ${safe} \`\`` : `\`${safe}\``
}
