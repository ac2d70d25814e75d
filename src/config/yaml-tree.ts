/**
 * The text of the file as plain values, each with its place in the text. `${NAME}` is filled in here, so that a
 * value from the environment can never be taken for YAML.
 */
import * as YAML from 'yaml'
import { isMap, type Path, pathKey, showPath } from './json-schema.ts'
import type { ConfigProblem } from './pipeline.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface ConfigTree {
  readonly value: Record<string, unknown>
  /** Text of scalars that were written without quotes or came from outside, for keys that want another type. */
  readonly texts: Map<string, string>
  readonly problems: ConfigProblem[]
  /** True if the values are not to be relied on; else there are only values that could not be filled in. */
  readonly broken: boolean
  /** Values that came out of the environment -> `${NAME}` as written. */
  readonly placeholders: ReadonlyMap<string, string>
  /** `file:line:column` of a value; of the nearest map around it, if there is none. */
  where(path: Path): string
  /** `file:line:column` of a key. */
  whereKey(path: Path): string
}

/** More is no configuration: aliases of aliases can grow without bounds. */
const maxNodes = 100_000
const maxDepth = 50

export function readTree(text: string, o: { readonly file: string; readonly env: Environment }): ConfigTree {
  return new TreeReader(text, o.file, o.env).read()
}

class TreeReader {
  readonly #text: string
  readonly #file: string
  readonly #env: Environment
  readonly #lines = new YAML.LineCounter()
  readonly #values = new Map<string, number>()
  readonly #keys = new Map<string, number>()
  readonly #texts = new Map<string, string>()
  readonly #placeholders = new Map<string, string>()
  readonly #problems: ConfigProblem[] = []
  #document: YAML.Document | undefined
  #nodes = 0
  #unfilled = 0

  constructor(text: string, file: string, env: Environment) {
    this.#text = text
    this.#file = file
    this.#env = env
  }

  read(): ConfigTree {
    let value: unknown
    try {
      const document = YAML.parseDocument(this.#text, {
        prettyErrors: false,
        lineCounter: this.#lines,
        // Quieter, and a second document would go unnoticed.
        logLevel: 'error',
      })
      this.#document = document
      // After the first real error the parser has lost its way; what it says then helps nobody.
      const first = document.errors.find(({ code }) => code !== 'DUPLICATE_KEY')
      for (const problem of [...document.errors, ...document.warnings]) {
        if (problem === first || problem.code === 'DUPLICATE_KEY' || first === undefined) this.#syntax(problem)
      }
      if (this.#problems.length === 0) value = this.#node(document.contents, [])
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#report([], 0, 'is nested too deeply')
    }
    if (value !== undefined && value !== null && !isMap(value)) {
      this.#report([], 0, 'a configuration is a map of keys and values, like `s3:` with `bucket:` below it')
    }
    return {
      value: isMap(value) ? value : Object.create(null),
      texts: this.#texts,
      problems: this.#problems,
      broken: this.#problems.length > this.#unfilled,
      placeholders: this.#placeholders,
      where: (path) => this.#place(this.#nearest(path, this.#values)),
      whereKey: (path) => this.#place(this.#keys.get(pathKey(path)) ?? this.#nearest(path, this.#values)),
    }
  }

  #node(node: unknown, path: Path): unknown {
    this.#nodes += 1
    if (this.#nodes > maxNodes || path.length > maxDepth) {
      // Said once; what follows is not looked at.
      if (this.#nodes < Number.POSITIVE_INFINITY) this.#report(path, offsetOf(node), 'has too many nested values')
      this.#nodes = Number.POSITIVE_INFINITY
      return undefined
    }
    if (YAML.isAlias(node)) {
      const target = this.#document && node.resolve(this.#document)
      if (target) return this.#node(target, path)
      this.#report(path, offsetOf(node), `there is no anchor &${node.source} before this alias`)
      return undefined
    }
    if (!this.#values.has(pathKey(path))) this.#values.set(pathKey(path), offsetOf(node))
    if (YAML.isMap(node)) return this.#map(node, path)
    if (YAML.isSeq(node)) return node.items.map((item, i) => this.#node(item, [...path, i]))
    return YAML.isScalar(node) ? this.#scalar(node, path) : undefined
  }

  #map(node: YAML.YAMLMap, path: Path): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null)
    const merged: unknown[] = []
    for (const { key, value } of node.items) {
      const name = YAML.isScalar(key) ? (key.source ?? String(key.value)) : undefined
      if (name === undefined || name === '__proto__') {
        this.#report(path, offsetOf(key), 'a key must be plain text')
        continue
      }
      if (name === '<<' && YAML.isScalar(key) && key.type === 'PLAIN') {
        merged.push(...(YAML.isSeq(value) ? value.items : [value]))
        continue
      }
      const at = [...path, name]
      this.#keys.set(pathKey(at), offsetOf(key))
      // A key without a value is as good as left out, as in Go.
      result[name] = this.#node(value, at) ?? undefined
    }
    for (const source of merged) this.#merge(result, source, path)
    return result
  }

  /** `<<: *defaults`: keys of the map itself win, then earlier sources. */
  #merge(result: Record<string, unknown>, source: unknown, path: Path): void {
    const target = YAML.isAlias(source) && this.#document ? source.resolve(this.#document) : source
    if (!YAML.isMap(target)) {
      this.#report(path, offsetOf(source), '`<<` merges maps only')
      return
    }
    const rest = target.items.filter(({ key }) => !(YAML.isScalar(key) && Object.hasOwn(result, String(key.value))))
    const map = new YAML.YAMLMap()
    map.range = target.range ?? null
    map.items = rest
    if (this.#nodes <= maxNodes) Object.assign(result, this.#map(map, path))
  }

  #scalar(node: YAML.Scalar, path: Path): unknown {
    const key = pathKey(path)
    if (typeof node.value !== 'string') {
      this.#texts.set(key, node.source ?? String(node.value))
      return typeof node.value === 'bigint' ? Number(node.value) : node.value
    }
    if (node.type === 'PLAIN') this.#texts.set(key, node.value)
    if (!node.value.includes('${')) return node.value
    const { text, missing } = fillIn(node.value, this.#env)
    for (const name of missing) {
      const problem = isName(name)
        ? `\${${name}} is not set in the environment: set it, or write \${${name}:-default}`
        : `\${${name}} is no variable: write \${NAME} or \${NAME:-default}, and $\${ for the characters themselves`
      this.#report(path, offsetOf(node), problem)
      this.#unfilled += 1
    }
    if (/^\$\{[^}]*\}$/.test(node.value)) this.#texts.set(key, text)
    else this.#texts.delete(key)
    const names = node.value.match(/(?<!\$)\$\{\w+/g)
    if (names) this.#placeholders.set(key, names.map((name) => `${name}}`).join(', '))
    return text
  }

  #syntax(problem: YAML.YAMLParseError | YAML.YAMLWarning): void {
    const [offset] = problem.pos
    const rest = this.#text.slice(offset)
    let message = problem.message
    if (problem.code === 'DUPLICATE_KEY') message = `the key ${/^[^\s:]*/.exec(rest)?.[0]} is there twice`
    else if (problem.code === 'MULTIPLE_DOCS') message = 'there is more than one document (`---`) in the file'
    else if (problem.code === 'TAB_AS_INDENT') message = 'indentation must be spaces, not tabs'
    else if (rest.startsWith('{') && this.#text[offset - 1] === '$') {
      message = '${NAME} must be in quotes here, inside [ ] or { }'
    }
    this.#report([], offset, message)
  }

  #report(path: Path, offset: number, message: string): void {
    this.#problems.push({ where: this.#place(offset), path: showPath(path), message })
  }

  #nearest(path: Path, places: ReadonlyMap<string, number>): number {
    for (let length = path.length; length > 0; length -= 1) {
      const key = pathKey(path.slice(0, length))
      // What is missing is missed at the key of the map around it.
      const offset = length === path.length ? places.get(key) : (this.#keys.get(key) ?? places.get(key))
      if (offset !== undefined) return offset
    }
    return 0
  }

  #place(offset: number): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#file}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
}

function offsetOf(node: unknown): number {
  return YAML.isNode(node) ? (node.range?.[0] ?? 0) : 0
}

function isName(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name)
}

/** Puts `${NAME}` and `${NAME:-default}` in; `$${` is the characters themselves. */
export function fillIn(text: string, env: Environment): { readonly text: string; readonly missing: string[] } {
  const missing: string[] = []
  const filled = text.replaceAll(/\$\$\{|\$\{([^}]*)\}/g, (whole, inner: string | undefined) => {
    if (inner === undefined) return '${'
    const cut = inner.indexOf(':-')
    const name = cut < 0 ? inner : inner.slice(0, cut)
    const value = Object.hasOwn(env, name) && isName(name) ? env[name] : undefined
    // As in a shell: the default also stands for an empty value.
    if (isName(name) && cut >= 0) return value || inner.slice(cut + 2)
    if (value === undefined) missing.push(name)
    return value ?? whole
  })
  return { text: filled, missing }
}
