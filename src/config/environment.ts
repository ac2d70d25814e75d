/** `S3_STREAMER_HTTP_BATCH_LINES=500`: every value of the file can be set from outside. */
import { closest } from './closest.ts'
import {
  isMap,
  isScalar,
  type JsonSchema,
  type Path,
  pathKey,
  schemaOfKey,
  valueAt,
  variantsFor,
} from './json-schema.ts'
import type { ConfigProblem } from './pipeline.ts'
import type { ConfigTree, Environment } from './yaml-tree.ts'

const prefix = 'S3_STREAMER_'
/** Set by our own launcher and tests, no part of the configuration. */
const ours = /^S3_STREAMER_(LAUNCHED$|TEST_)/

interface Place {
  readonly path: Path
  /** How the value is read: one value, or a list separated by commas. */
  readonly list: boolean
}

/**
 * Puts the variables into `tree`, at the keys that `schema` knows. Gives the variable of each path that was set, and
 * a warning for each variable that names no key.
 */
export function applyEnvironment(
  tree: ConfigTree,
  schema: JsonSchema,
  env: Environment,
): { readonly sources: ReadonlyMap<string, string>; readonly warnings: ConfigProblem[] } {
  const sources = new Map<string, string>()
  const warnings: ConfigProblem[] = []
  // A `type` set from outside decides which other keys there are, so it comes first; entries come in their order.
  const variables = Object.keys(env)
    .filter((name) => name.startsWith(prefix) && !ours.test(name) && env[name] !== undefined)
    .sort(
      (a, b) =>
        Number(b.endsWith('_TYPE')) - Number(a.endsWith('_TYPE')) || a.localeCompare(b, 'en', { numeric: true }),
    )
  for (const variable of variables) {
    const places = placesOf(schema, tree.value)
    const place = places.get(variable) ?? mapEntry(schema, tree.value, places, variable)
    if (!place) {
      // Without what they all begin with: that makes everything look alike.
      const bare = (name: string) => name.slice(prefix.length)
      const like = closest(bare(variable), [...places.keys()].map(bare))
      const hint = like === undefined ? '' : ` (did you mean ${prefix}${like}?)`
      warnings.push({ where: variable, path: '', message: `${variable} names no key of the configuration${hint}` })
      continue
    }
    const text = env[variable] as string
    const items = text === '' ? [] : text.split(',').map((item) => item.trim())
    if (!setAt(tree.value, place.path, place.list ? items : text)) continue
    sources.set(pathKey(place.path), variable)
    tree.texts.set(pathKey(place.path), text)
    if (place.list) items.forEach((item, i) => void tree.texts.set(pathKey([...place.path, i]), item))
  }
  return { sources, warnings }
}

/** Names of all variables that can be used with this file -> what they set. */
export function placesOf(schema: JsonSchema, value: unknown): Map<string, Place> {
  const places = new Map<string, Place>()
  visit(schema, value, [], (path, at) => {
    const name = prefix + path.join('_').toUpperCase()
    if (places.has(name)) return
    if (isScalar(at)) places.set(name, { path, list: false })
    else if (at.items && isScalar(at.items)) places.set(name, { path, list: true })
  })
  return places
}

/** Calls `see` for every key that is or may be in `value`, with the schema that describes it; lists have one entry more. */
function visit(schema: JsonSchema, value: unknown, path: Path, see: (path: Path, schema: JsonSchema) => void): void {
  if (path.length > 0) see(path, schema)
  for (const variant of variantsFor(schema, value)) {
    for (const [key, below] of Object.entries(variant.properties ?? {})) {
      visit(below, isMap(value) ? value[key] : undefined, [...path, key], see)
    }
    if (variant.items) {
      const entries = Array.isArray(value) ? value : []
      for (let i = 0; i <= entries.length; i += 1) visit(variant.items, entries[i], [...path, i], see)
    }
  }
}

/** `S3_STREAMER_HTTP_HEADERS_X_API_KEY`: maps with free keys take the rest of the name, as header names are written. */
function mapEntry(
  schema: JsonSchema,
  value: unknown,
  known: ReadonlyMap<string, Place>,
  variable: string,
): Place | undefined {
  let found: Place | undefined
  visit(schema, value, [], (path, at) => {
    const start = `${prefix}${path.join('_').toUpperCase()}_`
    const free = typeof at.additionalProperties === 'object' && isScalar(at.additionalProperties)
    if (!free || !variable.startsWith(start) || variable.length === start.length || known.has(variable)) return
    const name = variable.slice(start.length).toLowerCase().replaceAll('_', '-')
    const present = Object.keys((valueAt(value, path) as object | undefined) ?? {})
    found ??= { path: [...path, present.find((key) => key.toLowerCase() === name) ?? name], list: false }
  })
  return found
}

/** False if something else than a map or a list is in the way: that is a problem of the file, told by its schema. */
function setAt(tree: Record<string, unknown>, path: Path, value: unknown): boolean {
  let at: Record<string | number, unknown> = tree
  for (const [i, key] of path.slice(0, -1).entries()) {
    at[key] ??= typeof path[i + 1] === 'number' ? [] : Object.create(null)
    const next = at[key]
    if (typeof next !== 'object' || next === null || Array.isArray(next) !== (typeof path[i + 1] === 'number'))
      return false
    at = next as Record<string | number, unknown>
  }
  at[path.at(-1) as string | number] = value
  return true
}

/**
 * Gives scalars the type their key wants, as far as their text is of that type: `region: 1` is the text "1",
 * `"${PORT}"` is a number where a number belongs, `yes` is true.
 */
export function fitTypes(
  schema: JsonSchema,
  value: unknown,
  texts: ReadonlyMap<string, string>,
  path: Path = [],
): unknown {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const below = schemaOfKey(schema, value, i)
      if (below) value[i] = fitTypes(below, item, texts, [...path, i])
    }
    return value
  }
  if (isMap(value)) {
    for (const [key, item] of Object.entries(value)) {
      const below = schemaOfKey(schema, value, key)
      if (below) value[key] = fitTypes(below, item, texts, [...path, key])
    }
    return value
  }
  const text = texts.get(pathKey(path))
  if (text === undefined || !isScalar(schema)) return value
  return fitScalar(schema, value, text)
}

function fitScalar(schema: JsonSchema, value: unknown, text: string): unknown {
  const types = new Set(schema.anyOf || schema.oneOf ? [] : [schema.type ?? []].flat())
  if (types.has('string')) return types.size === 1 && value !== undefined && value !== null ? text : value
  if ((types.has('number') || types.has('integer')) && typeof value === 'string') {
    return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : value
  }
  if (types.has('boolean') && typeof value === 'string') {
    if (/^(true|yes|on)$/i.test(text)) return true
    if (/^(false|no|off)$/i.test(text)) return false
  }
  return value
}

/** For messages: the variable that set this path or a list around it. */
export function variableOf(sources: ReadonlyMap<string, string>, path: Path): string | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const variable = sources.get(pathKey(path.slice(0, length)))
    if (variable !== undefined) return variable
  }
  return undefined
}
