/** The JSON Schema of our zod schemas: the one description of keys and types that messages, environment, pages and editors use. */
import * as z from 'zod'

export interface JsonSchema {
  type?: string | string[]
  description?: string
  default?: unknown
  enum?: unknown[]
  const?: unknown
  examples?: unknown[]
  format?: string
  pattern?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  minItems?: number
  minLength?: number
  maxLength?: number
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: boolean | JsonSchema
  items?: JsonSchema
  oneOf?: JsonSchema[]
  anyOf?: JsonSchema[]
  /** `duration`, `size` or `secret`: what fields.ts makes of the text. */
  kind?: string
  $schema?: string
  title?: string
}

export type Path = readonly (string | number)[]

/** What may be written in the file, not what the program gets. */
export function inputSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      // zod leaves the default out where a transform stands before it.
      const { def } = zodSchema._zod
      if (def.type === 'default') jsonSchema.default ??= def.defaultValue as typeof jsonSchema.default
    },
  }) as JsonSchema
}

/** True for text, numbers, booleans: what one environment variable can hold. */
export function isScalar(schema: JsonSchema): boolean {
  return scalarTypes(schema).size > 0 && schema.properties === undefined && schema.items === undefined
}

/** Types of scalars that may stand here. */
export function scalarTypes(schema: JsonSchema): Set<string> {
  const types = new Set<string>()
  for (const type of [schema.type ?? []].flat()) if (type !== 'object' && type !== 'array') types.add(type)
  for (const one of [schema.const ?? [], schema.enum ?? []].flat()) types.add(typeof one)
  for (const variant of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) {
    for (const type of scalarTypes(variant)) types.add(type)
  }
  return types
}

/** The variants of a union of maps that `value` may be: the one its `type` names, else all. */
export function variantsFor(schema: JsonSchema, value: unknown): JsonSchema[] {
  if (!schema.oneOf) return [schema]
  const type = isMap(value) ? value.type : undefined
  const named = schema.oneOf.filter((variant) => variant.properties?.type?.const === type)
  return named.length > 0 ? named : schema.oneOf
}

/** The schema for `key` of `value`, which is described by `schema`. */
export function schemaOfKey(schema: JsonSchema, value: unknown, key: string | number): JsonSchema | undefined {
  for (const variant of variantsFor(schema, value)) {
    const found =
      typeof key === 'number'
        ? variant.items
        : (variant.properties?.[key] ??
          (typeof variant.additionalProperties === 'object' ? variant.additionalProperties : undefined))
    if (found) return found
  }
  return undefined
}

/** Keys that may stand in `value`, which is described by `schema`. */
export function knownKeys(schema: JsonSchema, value: unknown): string[] {
  return [...new Set(variantsFor(schema, value).flatMap((variant) => Object.keys(variant.properties ?? {})))]
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `pipelines[0].sink.endpoints`. */
export function showPath(path: Path): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('')
}

/** A path as the key of a map. */
export function pathKey(path: Path): string {
  return path.join('\u0000')
}

export function valueAt(tree: unknown, path: Path): unknown {
  let at = tree
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as Record<string | number, unknown>)[key]
  }
  return at
}
