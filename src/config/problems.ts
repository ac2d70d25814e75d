/** What zod found wrong, in words for the person who wrote the file. */
import type * as z from 'zod'
import { closest } from './closest.ts'
import { isMap, type JsonSchema, knownKeys, type Path, schemaOfKey, valueAt } from './json-schema.ts'

export interface Finding {
  readonly path: Path
  readonly message: string
  /** True if the key itself is wrong, not its value. */
  readonly key?: true
}

const kinds: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys and values',
  record: 'a map of keys and values',
}

/** The findings of `error` about `value`, whose keys `schema` describes. */
export function findings(error: z.core.$ZodError, value: unknown, schema: JsonSchema): Finding[] {
  return error.issues.flatMap((issue) => findingsOf(issue, value, schema))
}

function findingsOf(issue: z.core.$ZodIssue, tree: unknown, schema: JsonSchema): Finding[] {
  const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
  const value = valueAt(tree, path)
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schemaAt(schema, tree, path), value)
    return issue.keys.map((key) => ({
      path: [...path, key],
      key: true,
      message: `is no key of this section${suggestion(key, known) || `; there is: ${known.join(', ')}`}`,
    }))
  }
  if (issue.code === 'invalid_union' && value !== undefined) {
    // A branch that takes this kind of value knows what is wrong within it.
    const refusesKind = (one: z.core.$ZodIssue) => one.code === 'invalid_type' && one.path.length === 0
    const branch = issue.errors.find((errors) => errors.length > 0 && !errors.some(refusesKind))
    if (branch) return branch.flatMap((one) => findingsOf({ ...one, path: [...issue.path, ...one.path] }, tree, schema))
  }
  return [{ path, message: describe(issue, value) }]
}

function describe(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined && (issue.code === 'invalid_type' || issue.code === 'invalid_value')) return 'is missing'
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${kinds[issue.expected] ?? issue.expected}, not ${nameOf(value)}`
    case 'invalid_value':
      return oneOf(value, issue.values.map(String))
    case 'invalid_union': {
      if ('options' in issue && Array.isArray(issue.options)) {
        const options = issue.options.map(String)
        return value === undefined ? `is missing: one of ${options.join(', ')}` : oneOf(value, options)
      }
      if (value === undefined) return 'is missing'
      const expected = issue.errors
        .flat()
        .flatMap((one) => (one.code === 'invalid_type' ? [kinds[one.expected] ?? one.expected] : []))
      return `must be ${[...new Set(expected)].join(' or ')}, not ${nameOf(value)}`
    }
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty'
      if (issue.origin === 'array') return 'must have at least one entry'
      return `${String(value)} is too small: at least ${issue.minimum}`
    case 'too_big':
      return `${String(value)} is too large: at most ${issue.maximum}`
    case 'invalid_format':
    case 'custom':
      return issue.message
    default:
      return issue.message
  }
}

function oneOf(value: unknown, options: readonly string[]): string {
  if (typeof value !== 'string') return `must be one of ${options.join(', ')}, not ${nameOf(value)}`
  return `${JSON.stringify(value)} is not one of ${options.join(', ')}${suggestion(value, options)}`
}

/** ` (did you mean "x"?)`, or nothing. */
export function suggestion(wrong: string, names: readonly string[]): string {
  const name = closest(wrong, names)
  return name === undefined ? '' : ` (did you mean "${name}"?)`
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (isMap(value)) return 'a map'
  if (typeof value === 'number') return Number.isInteger(value) ? 'a number' : `${value}`
  return typeof value === 'boolean' ? `${value}` : 'text'
}

function schemaAt(schema: JsonSchema, tree: unknown, path: Path): JsonSchema {
  let at: JsonSchema = schema
  for (const [i, key] of path.entries()) at = schemaOfKey(at, valueAt(tree, path.slice(0, i)), key) ?? {}
  return at
}
