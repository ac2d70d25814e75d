/**
 * `filter`: a CEL expression (https://github.com/google/cel-spec) over the fields of a record and where it comes from.
 *
 * What differs from plain CEL: numbers of records are doubles and may be calculated with ints (`bytes / 1024 > 1.5`;
 * `int(status) / 100 == 5` divides ints), and `matches` takes RE2 and linear time.
 */
import {
  type ASTNode,
  TypeError as CelTypeError,
  Environment,
  EvaluationError,
  ParseError,
  type ParseResult,
} from '@marcbachmann/cel-js'
import { RE2JS } from 're2js'
import type { ObjectRef } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { regexProblem } from '../formats/schema.ts'
import { matchFunction, meansField, type Names, namesOf } from './cel-names.ts'
import type { FieldReader } from './fields.ts'
import { textOf } from './json-values.ts'

/** Why a text is no filter, and where in it; line and column count from 1. */
export interface FilterProblem {
  readonly message: string
  readonly line: number
  readonly column: number
}

/** What a filter may know of an object besides its records. */
export interface FilteredObject {
  readonly object: Pick<ObjectRef, 'bucket' | 'key'>
  /** Name of the format. */
  readonly format: string
  readonly reader: FieldReader
  /** Time of a record in ms since the epoch; asked only if the filter uses `timestamp`. */
  readonly timeOf: (record: Buffer) => number
}

/** A filter for the records of one object. */
export interface RecordFilter {
  /**
   * True if the record goes on. Throws a StreamError 'filter.failed' if the expression errs on it, is no bool, or needs
   * fields that cannot be read. Of the record only what the expression really reaches is read.
   */
  test(record: Buffer): boolean
}

/** A compiled filter; it serves any number of objects. */
export interface CelFilter {
  /** Names of the fields it reads as the expression has them; undefined if it looks at `fields` as a whole. */
  readonly fieldNames: ReadonlySet<string> | undefined
  forObject(o: FilteredObject): RecordFilter
}

/** Why the text is no filter; undefined if it is one. Syntax, functions and types are checked. */
export function filterProblem(source: string): FilterProblem | undefined {
  const compiled = compile(source)
  return 'problem' in compiled ? compiled.problem : undefined
}

/** Compiles a filter. Throws a StreamError 'config.invalid' with the place if it is none. */
export function compileFilter(source: string): CelFilter {
  const compiled = compile(source)
  if ('problem' in compiled) {
    const { message, line, column } = compiled.problem
    throw new StreamError('config.invalid', `cannot compile the filter: line ${line}, column ${column}: ${message}`)
  }
  const { evaluate, names } = compiled
  return {
    fieldNames: names.fieldNames,
    forObject: (o) => new ObjectFilter(source, evaluate, names, o),
  }
}

const environment = createEnvironment()

function createEnvironment(): Environment {
  const sync = { async: false }
  const cel = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false })
    .registerVariable('record', 'string')
    .registerVariable('bucket', 'string')
    .registerVariable('key', 'string')
    .registerVariable('format', 'string')
    .registerVariable('timestamp', 'google.protobuf.Timestamp')
    .registerVariable('fields', 'map<string, dyn>')
    .registerFunction(`string.${matchFunction}(string): bool`, isFound, sync)
    .registerFunction('matches(string, string): bool', isFound, sync)
  const operations: ReadonlyArray<[string, (a: number, b: number) => number]> = [
    ['+', (a, b) => a + b],
    ['-', (a, b) => a - b],
    ['*', (a, b) => a * b],
    ['/', (a, b) => a / b],
    ['%', (a, b) => a % b],
  ]
  for (const [operator, calculate] of operations) {
    const handler = (a: number | bigint, b: number | bigint): number => calculate(Number(a), Number(b))
    cel.registerOperator(`double ${operator} int: double`, handler)
    cel.registerOperator(`int ${operator} double: double`, handler)
  }
  return cel.registerOperator('double % double: double', (a: number, b: number) => a % b)
}

/** Expressions made at run time (`record.matches(fields.pattern)`) are kept up to this number. */
const keptPatterns = 256
const patterns = new Map<string, RE2JS>()

function isFound(text: string, source: string): boolean {
  let pattern = patterns.get(source)
  if (pattern === undefined) {
    try {
      pattern = RE2JS.compile(source)
    } catch (cause) {
      throw new EvaluationError({ code: 'invalid_regular_expression', message: 'no RE2 expression', cause })
    }
    if (patterns.size >= keptPatterns) patterns.clear()
    patterns.set(source, pattern)
  }
  return pattern.test(text)
}

type Compiled = { readonly evaluate: ParseResult; readonly names: Names } | { readonly problem: FilterProblem }

function compile(source: string): Compiled {
  let root: ASTNode
  try {
    root = environment.parse(source).ast
  } catch (error) {
    return { problem: problemOf(source, error, (offset) => offset) }
  }
  const names = namesOf(source, root)
  for (const pattern of names.patterns) {
    const reason = regexProblem(pattern.source)
    if (reason === undefined) continue
    return { problem: { message: `no RE2 expression: ${reason}`, ...placeOf(source, pattern.at) } }
  }
  try {
    const evaluate = environment.parse(names.rewritten)
    const { valid, type, error } = evaluate.check()
    if (!valid) return { problem: problemOf(source, error, names.sourceOffset) }
    if (type !== 'bool' && type !== 'dyn') {
      return { problem: { message: `the result is ${type}, not bool`, ...placeOf(source, root.start) } }
    }
    return { evaluate, names }
  } catch (error) {
    return { problem: problemOf(source, error, names.sourceOffset) }
  }
}

function problemOf(source: string, error: unknown, sourceOffset: (offset: number) => number): FilterProblem {
  if (!(error instanceof ParseError || error instanceof CelTypeError || error instanceof EvaluationError)) throw error
  const reserved = /^Reserved identifier: (.*)$/.exec(error.summary)?.[1]
  const message =
    reserved === undefined
      ? error.summary.replaceAll(matchFunction, 'matches')
      : `${reserved} is a reserved word of CEL (a field of that name is fields["${reserved}"])`
  return { message, ...placeOf(source, sourceOffset(error.node?.pos ?? error.range?.start ?? 0)) }
}

function placeOf(source: string, offset: number): { readonly line: number; readonly column: number } {
  const before = source.slice(0, offset)
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') }
}

/** Codes of the library whose messages hold only types and words of the expression; others may quote the record. */
const quotableCodes = new Set([
  'division_by_zero',
  'invalid_comprehension_range',
  'invalid_condition_type',
  'invalid_logical_operand',
  'modulo_by_zero',
  'no_matching_overload',
  'no_such_overload',
])

class ObjectFilter implements RecordFilter {
  readonly #source: string
  readonly #evaluate: ParseResult
  readonly #names: Names
  readonly #object: FilteredObject
  /** Variables by name; those that depend on the record are worked out when the expression reaches them. */
  readonly #variables: Record<string, unknown>
  readonly #time = new Date(0)
  /** What the reader is asked for; undefined: all. */
  readonly #only: ReadonlySet<string> | undefined
  #record: Buffer = Buffer.alloc(0)
  #fields: Readonly<Record<string, unknown>> | undefined

  constructor(source: string, evaluate: ParseResult, names: Names, object: FilteredObject) {
    this.#source = source
    this.#evaluate = evaluate
    this.#names = names
    this.#object = object
    this.#only = names.fieldNames && withOriginalNames(names.fieldNames, object.reader)
    this.#variables = this.#bindVariables()
  }

  #bindVariables(): Record<string, unknown> {
    const { object, format, timeOf } = this.#object
    const properties: PropertyDescriptorMap = {
      bucket: { value: object.bucket },
      key: { value: object.key },
      format: { value: format },
      record: { get: () => textOf(this.#record) },
      timestamp: {
        get: () => {
          this.#time.setTime(timeOf(this.#record))
          return this.#time
        },
      },
      fields: { get: () => this.#known(this.#read()) },
    }
    for (const name of this.#names.variables) {
      properties[name] = { get: () => this.#known(fieldCalled(name, this.#read())) }
    }
    return Object.create(null, properties)
  }

  #read(): Readonly<Record<string, unknown>> {
    this.#fields ??= this.#object.reader.read(this.#record, this.#only)
    return this.#fields
  }

  /** The library tells maps by their constructor, which a field of that name hides, on any level. */
  #known(value: unknown): unknown {
    return this.#record.includes('constructor') ? asMaps(value) : value
  }

  test(record: Buffer): boolean {
    this.#record = record
    this.#fields = undefined
    let result: unknown
    // A field that many records lack makes as many errors, and most of their cost is the stack that nobody reads.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      result = this.#evaluate(this.#variables)
    } catch (error) {
      throw this.#failure(error)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
    if (typeof result !== 'boolean') {
      const found = result === null ? 'null' : Array.isArray(result) ? 'a list' : `a ${typeof result}`
      throw new StreamError('filter.failed', `cannot filter: the result is ${found}, not true or false`)
    }
    return result
  }

  #failure(error: unknown): StreamError {
    if (error instanceof StreamError) return error
    // Whatever an expression throws depends on the record: text that is no time zone, lists too deep to compare.
    if (!(error instanceof EvaluationError)) {
      return new StreamError(
        'filter.failed',
        `cannot filter: ${error instanceof Error ? error.name : 'error'} in a function`,
      )
    }
    const offset = error.node?.pos ?? error.range?.start
    if (offset === undefined) return new StreamError('filter.failed', `cannot filter: ${this.#reason(error)}`)
    const { line, column } = placeOf(this.#source, this.#names.sourceOffset(offset))
    const place = `line ${line}, column ${column} of the filter`
    return new StreamError('filter.failed', `cannot filter: ${this.#reason(error)} (${place})`)
  }

  #reason({ code, summary }: EvaluationError): string {
    const missing = /^(?:Unknown variable|No such key): (.*)$/s.exec(summary)?.[1]
    if (missing !== undefined && this.#source.includes(missing)) return `no such field: ${missing}`
    return quotableCodes.has(code) ? summary.replaceAll(matchFunction, 'matches') : code.replaceAll('_', ' ')
  }
}

/** The names of delimited fields that the filter's names mean, and these themselves. */
function withOriginalNames(wanted: ReadonlySet<string>, reader: FieldReader): ReadonlySet<string> {
  const names = new Set(wanted)
  for (const name of reader.cut?.names ?? []) {
    for (const asked of wanted) if (meansField(asked, name)) names.add(name)
  }
  return names
}

function fieldCalled(name: string, fields: Readonly<Record<string, unknown>>): unknown {
  if (Object.hasOwn(fields, name)) return fields[name]
  if (!name.includes('_')) return undefined
  for (const field in fields) if (meansField(name, field)) return fields[field]
  return undefined
}

function asMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asMaps)
  if (typeof value !== 'object' || value === null) return value
  return new Map(Object.entries(value).map(([name, inner]) => [name, asMaps(inner)]))
}
