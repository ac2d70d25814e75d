/** From the text of the file to pipelines, or to all that is wrong with it, each with its place. */
import { readFileSync } from 'node:fs'
import { defaultAddress, isLoopback, portOf } from '../console/config.ts'
import type { Registry } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { shapeFields } from '../filters/schema.ts'
import { presets } from '../formats/presets.ts'
import { applyEnvironment, fitTypes, variableOf } from './environment.ts'
import { inputSchema, isMap, type Path, pathKey, showPath, valueAt } from './json-schema.ts'
import {
  type ConfigProblem,
  type FileConfig,
  fileSchema,
  type LoadedConfig,
  type PipelineConfig,
  redisSchema,
} from './pipeline.ts'
import { type Finding, findings, suggestion } from './problems.ts'
import { generalForm, seedPath, seedSchema } from './seed-form.ts'
import { type ConfigTree, type Environment, readTree } from './yaml-tree.ts'

/** Keys that only the form without `pipelines` has. */
const seedOnly = [...['s3', 'http', 'processing', 'state', 'decode', 'shutdown_timeout'], ...Object.keys(shapeFields)]

/** The text of the file. Throws a StreamError `config.invalid` that says what to do. */
export function readConfigFile(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    const reasons: Record<string, string> = {
      ENOENT: 'there is no such file; name yours with --config, or begin with a copy of examples/seed.yaml',
      EISDIR: 'it is a directory; name the file in it with --config',
      EACCES: 'no permission to read it; run as the user it belongs to, or let this one read it',
    }
    const reason = reasons[(error as NodeJS.ErrnoException).code ?? ''] ?? explainError(error)
    throw invalid([{ where: path, path: '', message: `cannot read the configuration: ${reason}` }], error)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    const message = 'cannot read the configuration: it is not UTF-8; save it as UTF-8 without compression'
    throw invalid([{ where: path, path: '', message }], error)
  }
}

/** Throws a StreamError `config.invalid` with all problems: one line each in the message, and as `data.problems`. */
export function loadConfig(
  text: string,
  o: { readonly file: string; readonly env: Environment; readonly registry: Registry },
): LoadedConfig {
  const tree = readTree(text, o)
  if (tree.broken) throw invalid(tree.problems)
  return new Loader(tree, o.env, o.registry).load()
}

class Loader {
  readonly #tree: ConfigTree
  readonly #env: Environment
  readonly #registry: Registry
  readonly #seed: boolean
  readonly #problems: ConfigProblem[] = []
  readonly #warnings: ConfigProblem[] = []
  #sources: ReadonlyMap<string, string> = new Map()

  constructor(tree: ConfigTree, env: Environment, registry: Registry) {
    this.#tree = tree
    this.#env = env
    this.#registry = registry
    this.#seed =
      !('pipelines' in tree.value) && !Object.keys(env).some((key) => key.startsWith('S3_STREAMER_PIPELINES_'))
  }

  load(): LoadedConfig {
    this.#problems.push(...this.#tree.problems)
    const general = fileSchema(this.#registry)
    const schema = this.#seed ? seedSchema : general
    const keys = inputSchema(schema)
    const { value } = this.#tree
    if (!this.#seed) this.#refuseBothForms(value)
    const { sources, warnings } = applyEnvironment(this.#tree, keys, this.#env)
    this.#sources = sources
    this.#warnings.push(...warnings)
    fitTypes(keys, value, this.#tree.texts)
    const own = schema.safeParse(value)
    if (own.error) for (const finding of findings(own.error, value, keys)) this.#report(finding)
    if (this.#seed) this.#checkSeed(value)
    // Problems of both kinds are told at once, but a shape that is wrong cannot be looked into.
    const file =
      this.#seed && own.success ? this.#parseMapped(general, value) : own.success ? (own.data as FileConfig) : undefined
    const pipelines = (file?.pipelines ?? []).map((pipeline) => completed(pipeline, file?.formats ?? []))
    this.#checkPipelines(pipelines)
    if (file) this.#checkPort(file.health, pipelines)
    if (file) this.#warn(file, pipelines)
    if (this.#problems.length > 0) throw invalid(this.#problems)
    const { logging, otlp, health, console, pushgateway } = file as FileConfig
    return {
      pipelines,
      logging,
      otlp: otlp.enabled ? otlp : undefined,
      health: { ...health, ...this.#freeAddress(health, pipelines) },
      console,
      pushgateway,
      warnings: this.#warnings,
      schema: inputSchema(general),
    }
  }

  #parseMapped(general: ReturnType<typeof fileSchema>, value: Record<string, unknown>): FileConfig | undefined {
    const mapped = generalForm(value)
    const parsed = general.safeParse(mapped)
    if (parsed.success) return parsed.data
    for (const finding of findings(parsed.error, mapped, inputSchema(general))) this.#report(finding, { mapped: true })
    return undefined
  }

  #refuseBothForms(value: Record<string, unknown>): void {
    for (const key of seedOnly) {
      if (!(key in value)) continue
      delete value[key]
      this.#report({
        path: [key],
        key: true,
        message: 'cannot stand beside `pipelines`: move it into a pipeline, or leave `pipelines` out',
      })
    }
  }

  #checkSeed(value: Record<string, unknown>): void {
    const top = value.redis
    const below = valueAt(value, ['state', 'redis'])
    const complete = (redis: unknown) => ({ ...redisSchema.parse({}), ...(isMap(redis) ? redis : { redis }) })
    if (top !== undefined && below !== undefined && !sameValue(complete(top), complete(below))) {
      this.#report({ path: ['redis'], key: true, message: 'differs from state.redis: keep one of them' })
    }
    if (value.formats !== undefined && valueAt(value, ['processing', 'log_formats']) !== undefined) {
      this.#report({
        path: ['formats'],
        key: true,
        message: 'means the same as processing.log_formats: keep one of them',
      })
    }
    const deprecated: Path = ['processing', 'log_format']
    if (valueAt(value, deprecated) !== undefined) {
      const used = valueAt(value, ['processing', 'default_format']) === undefined
      const message = used ? 'is deprecated: write default_format' : 'is not used, because default_format is there'
      this.#warnings.push(this.#problem({ path: deprecated, message: `${showPath(deprecated)} ${message}` }))
    }
  }

  /** What one key alone cannot tell. */
  #checkPipelines(pipelines: readonly PipelineConfig[]): void {
    const names = new Set<string>()
    const stateFiles = new Map<string, string>()
    for (const [i, pipeline] of pipelines.entries()) {
      const { name, source, sink, state, formats, default_format: wanted } = pipeline
      const report = (path: Path, message: string) =>
        this.#report({ path: ['pipelines', i, ...path], message }, { mapped: this.#seed })
      if (names.has(name)) report(['name'], `there is another pipeline "${name}": each needs a name of its own`)
      names.add(name)
      const other = stateFiles.get(state.file_path)
      if (other !== undefined && other !== name) {
        report(['state', 'file_path'], `is the state of pipeline "${other}" too: each needs a file of its own`)
      }
      stateFiles.set(state.file_path, name)
      const [bucket, ...path] = typeof source.bucket === 'string' ? source.bucket.split('/') : []
      if (path.length > 0 && !String(source.bucket).startsWith('arn:')) {
        report(
          ['source', 'bucket'],
          /^https?:$/.test(bucket ?? '')
            ? 'is a URL: give only the name of the bucket; `endpoint` is for servers other than AWS'
            : `holds a path: name the bucket "${bucket}" only and put "${path.join('/')}" into prefix`,
        )
      }
      const takesObjects = this.#registry.sinks.find(({ type }) => type === sink.type)?.objects
      if (takesObjects?.wanted(sink)) {
        if (sink.if_exists === 'skip' && (source.after ?? 'none') !== 'none')
          report(
            ['sink', 'if_exists'],
            `skip leaves files uncopied, and source.after would ${source.after} them all the same`,
          )
        for (const key of shapeKeys.filter((key) => isSet(pipeline[key])))
          report(
            [key],
            'has no effect on objects that are copied as they are: set sink.mode to records, or leave it out',
          )
      }
      const known = ['auto', ...formats.map((format) => format.name), ...presets.map((preset) => preset.name)]
      if (!known.includes(wanted)) {
        const hint = suggestion(wanted, known) || `; there is: ${known.join(', ')}`
        report(['default_format'], `there is no format ${JSON.stringify(wanted)}${hint}`)
      }
    }
  }

  #warn(file: FileConfig, pipelines: readonly PipelineConfig[]): void {
    const warn = (path: Path, message: string) => {
      const place = this.#seed ? seedPath(path, this.#tree.value) : path
      this.#warnings.push(this.#problem({ path: place, message: `${showPath(place.slice(0, -1))}: ${message}` }))
    }
    if (file.redis.enabled) warn(['redis', 'enabled'], 'accepted, but this version keeps its state in the file only')
    const { health, console } = file
    if (health.enabled === false || !console.enabled || console.token !== undefined) return
    const { address } = this.#freeAddress(health, pipelines) ?? health
    if (address === undefined || isLoopback(address)) return
    warn(
      ['console', 'token'],
      `without a token, other machines see only health checks and /metrics at ${address}, not the console`,
    )
  }

  /**
   * The seed's usual address is the port of Edge Delta's usual input. On one machine only one of them can have it, and the file
   * has to run as it is.
   */
  #freeAddress(
    health: FileConfig['health'],
    pipelines: readonly PipelineConfig[],
  ): { readonly address: string } | undefined {
    const { address } = health
    if (address === undefined || health.enabled === false || !this.#seed) return undefined
    return endpointAt(portOf(address), pipelines) === undefined
      ? undefined
      : { address: address.replace(/\d+$/, String(portOf(defaultAddress))) }
  }

  #checkPort({ address, enabled }: FileConfig['health'], pipelines: readonly PipelineConfig[]): void {
    if (address === undefined || enabled === false) return
    const port = portOf(address)
    const taken = endpointAt(port, pipelines)
    if (taken === undefined) return
    const path: Path = ['health', 'address']
    const what = `port ${port} is the one of ${withoutPassword(taken)} too`
    const moved = this.#freeAddress({ address, enabled, path: '' }, pipelines)
    if (moved) {
      const message = `${showPath(path)}: ${what}: health checks are served at ${moved.address} instead`
      this.#warnings.push(this.#problem({ path, message }))
    } else this.#report({ path, message: `${what}: choose another, like "localhost:${portOf(defaultAddress)}"` })
  }

  #report(finding: Finding, o: { readonly mapped?: boolean } = {}): void {
    const path = o.mapped ? seedPath(finding.path, this.#tree.value) : finding.path
    // What is wrong with a value that could not be filled in has been said.
    if (this.#tree.problems.some((problem) => problem.path === showPath(path))) return
    this.#problems.push(this.#problem({ ...finding, path }))
  }

  #problem({ path, message, key }: Finding): ConfigProblem {
    const variable = variableOf(this.#sources, path)
    const where = variable ?? (key ? this.#tree.whereKey(path) : this.#tree.where(path))
    const filled = variable === undefined && !key ? this.#tree.placeholders.get(pathKey(path)) : undefined
    return { where, path: showPath(path), message: filled === undefined ? message : `${message} (from ${filled})` }
  }
}

const shapeKeys = ['match', 'exclude', 'filter', 'replace', 'redact', 'envelope'] as const

function isSet(value: string | readonly unknown[] | undefined): boolean {
  return typeof value === 'string' ? value !== 'raw' : (value?.length ?? 0) > 0
}

type ParsedPipeline = FileConfig['pipelines'][number]

/** The schemas come from the registry, so the compiler cannot know what they give; the types below are what they say. */
function completed(pipeline: ParsedPipeline, shared: FileConfig['formats']): PipelineConfig {
  const { state, formats } = pipeline
  return {
    ...pipeline,
    source: pipeline.source as PipelineConfig['source'],
    sink: pipeline.sink as PipelineConfig['sink'],
    formats: formats ?? shared,
    state: { ...state, file_path: state.file_path ?? `${pipeline.name}.state.json` },
  }
}

function invalid(problems: readonly ConfigProblem[], cause?: unknown): StreamError {
  const lines = [...new Set(inOrder(problems).map(line))]
  return new StreamError('config.invalid', lines.join('\n'), { cause, data: { problems } })
}

function line({ where, path, message }: ConfigProblem): string {
  return `${where}${path === '' ? ':' : ` ${path}:`} ${message}`
}

/** By place in the file; what comes from the environment at the end. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const at = ({ where }: ConfigProblem) =>
    /:(\d+):(\d+)$/.exec(where)?.slice(1).map(Number) ?? [Number.MAX_SAFE_INTEGER, 0]
  return [...problems].sort((a, b) => {
    const [lineA = 0, columnA = 0] = at(a)
    const [lineB = 0, columnB = 0] = at(b)
    return lineA - lineB || columnA - columnB
  })
}

/** Order of keys does not count. */
function sameValue(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown) =>
    JSON.stringify(value, (_, at: unknown) =>
      typeof at === 'object' && at !== null && !Array.isArray(at) ? Object.fromEntries(Object.entries(at).sort()) : at,
    )
  return sorted(a) === sorted(b)
}

/** The endpoint that has this port of this machine. */
function endpointAt(port: number | undefined, pipelines: readonly PipelineConfig[]): string | undefined {
  const endpoints = pipelines.flatMap(({ sink }) => (Array.isArray(sink.endpoints) ? sink.endpoints.map(String) : []))
  return endpoints.find((endpoint) => port !== undefined && localPort(endpoint) === port)
}

/** The port of a URL of this host. */
function localPort(endpoint: string): number | undefined {
  const { hostname, port, protocol } = new URL(endpoint)
  if (!/^(localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\])$/.test(hostname)) return undefined
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}

function withoutPassword(endpoint: string): string {
  const url = new URL(endpoint)
  url.password = ''
  url.username = ''
  return url.href
}
