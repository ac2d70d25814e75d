/**
 * What a CEL expression names, found in its syntax tree, and the expression as the library is to evaluate it.
 *
 * The library takes `type`, `bytes`, `map` and the like for CEL's own types wherever they stand, but logs have fields of
 * these names. So a name of a type is a type only where it is compared with `type(…)`, and a field everywhere else: there
 * it is written `fields.type`. And `matches`, which the library gives to JavaScript's backtracking RegExp, becomes a
 * function of the same length that is ours.
 */
import type { ASTNode } from '@marcbachmann/cel-js'

/** Our name for `matches`; as long as it, so that places in the text stay. */
export const matchFunction = 'matchRe'

/** Names the engine gives a meaning; fields called so are there by `fields` only. */
const builtInNames = new Set(['record', 'bucket', 'key', 'format', 'timestamp', 'fields'])

const typeNames = new Set('bool bytes double int list map null_type string type uint'.split(' '))
const namespaces = new Set(['cel', 'google', 'optional'])
const macros = new Set(['all', 'exists', 'exists_one', 'filter', 'map'])
const wholeFields = 'fields'
const fieldPrefix = 'fields.'

export interface Names {
  /** Names that stand for a field at the top level of the record. */
  readonly variables: ReadonlySet<string>
  /** All fields it may read, these included; undefined if it looks at `fields` as a whole. */
  readonly fieldNames: ReadonlySet<string> | undefined
  /** Regular expressions given as literals, and where they stand in the source. */
  readonly patterns: ReadonlyArray<{ readonly source: string; readonly at: number }>
  /** The expression as it is to be evaluated. */
  readonly rewritten: string
  /** Place in the source of a place in `rewritten`. */
  sourceOffset(offset: number): number
}

/** Reads the names of a parsed expression. */
export function namesOf(source: string, root: ASTNode): Names {
  const walk = new Walk(source)
  walk.visit(root, new Set())
  const inserts = [...walk.inserts].sort((a, b) => a - b)
  let renamed = source
  for (const at of walk.matchCalls) {
    renamed = renamed.slice(0, at) + matchFunction + renamed.slice(at + matchFunction.length)
  }
  let rewritten = ''
  let from = 0
  for (const at of inserts) {
    rewritten += renamed.slice(from, at) + fieldPrefix
    from = at
  }
  rewritten += renamed.slice(from)
  return {
    variables: walk.variables,
    fieldNames: walk.usesWhole ? undefined : walk.fieldNames,
    patterns: walk.patterns,
    rewritten,
    sourceOffset: (offset) => {
      let shift = 0
      for (const at of inserts) {
        if (offset < at + shift) break
        shift += Math.min(fieldPrefix.length, offset - at - shift)
      }
      return offset - shift
    },
  }
}

class Walk {
  readonly variables = new Set<string>()
  readonly fieldNames = new Set<string>()
  readonly patterns: { source: string; at: number }[] = []
  /** Where `fields.` goes in. */
  readonly inserts = new Set<number>()
  /** Where `matches` stands. */
  readonly matchCalls: number[] = []
  usesWhole = false
  readonly #source: string

  constructor(source: string) {
    this.#source = source
  }

  /** `bound`: variables of the macros around. */
  visit(node: ASTNode, bound: ReadonlySet<string>): void {
    switch (node.op) {
      case 'value':
        return
      case 'id':
        this.#name(node.args, node.start, bound)
        return
      case '.':
      case '.?':
        this.#access(node.args[0], node.args[1], bound)
        return
      case '[]':
      case '[?]': {
        const [left, index] = node.args
        if (index.op === 'value' && typeof index.args === 'string') this.#access(left, index.args, bound)
        else this.#all(node.args, bound)
        return
      }
      case 'in':
        this.#membership(node.args[0], node.args[1], bound)
        return
      case '==':
      case '!=':
        this.#comparison(node.args[0], node.args[1], bound)
        return
      case 'call':
        if (node.args[0] === 'matches') this.#pattern(node.args[1][1])
        this.#all(node.args[1], bound)
        return
      case 'rcall':
        this.#method(node.args[0], node.args[1], node.args[2], bound)
        return
      case 'map':
        for (const entry of node.args) this.#all(entry, bound)
        return
      case '!_':
      case '-_':
        this.visit(node.args, bound)
        return
      default:
        this.#all(node.args, bound)
    }
  }

  #all(nodes: readonly ASTNode[], bound: ReadonlySet<string>): void {
    for (const node of nodes) this.visit(node, bound)
  }

  #name(name: string, at: number, bound: ReadonlySet<string>): void {
    if (bound.has(name)) return
    if (builtInNames.has(name)) {
      if (name === wholeFields) this.usesWhole = true
      return
    }
    this.fieldNames.add(name)
    if (typeNames.has(name) || namespaces.has(name)) {
      this.inserts.add(at)
    } else {
      this.variables.add(name)
    }
  }

  #access(left: ASTNode, name: string, bound: ReadonlySet<string>): void {
    if (isFree(left, bound, 'google') && name === 'protobuf') return
    if (isFree(left, bound, wholeFields)) this.fieldNames.add(name)
    else this.visit(left, bound)
  }

  #membership(left: ASTNode, right: ASTNode, bound: ReadonlySet<string>): void {
    if (left.op === 'value' && typeof left.args === 'string') {
      this.#access(right, left.args, bound)
      return
    }
    this.visit(left, bound)
    if (isTypeCall(left) && right.op === 'list') this.#all(right.args.filter(isNoType), bound)
    else this.visit(right, bound)
  }

  #comparison(left: ASTNode, right: ASTNode, bound: ReadonlySet<string>): void {
    if (!(isTypeCall(right) && !isNoType(left))) this.visit(left, bound)
    if (!(isTypeCall(left) && !isNoType(right))) this.visit(right, bound)
  }

  #method(name: string, receiver: ASTNode, args: readonly ASTNode[], bound: ReadonlySet<string>): void {
    const [first, ...rest] = args
    if (name === 'bind' && isFree(receiver, bound, 'cel') && first?.op === 'id') {
      const [value, body] = rest
      if (value) this.visit(value, bound)
      if (body) this.visit(body, new Set([...bound, first.args]))
      return
    }
    if (!(receiver.op === 'id' && namespaces.has(receiver.args))) this.visit(receiver, bound)
    if (macros.has(name) && first?.op === 'id' && rest.length > 0) {
      this.#all(rest, new Set([...bound, first.args]))
      return
    }
    if (name === 'matches' && args.length === 1) {
      this.matchCalls.push(this.#methodPlace(receiver.end))
      this.#pattern(first)
    }
    this.#all(args, bound)
  }

  #pattern(node: ASTNode | undefined): void {
    if (node?.op === 'value' && typeof node.args === 'string') this.patterns.push({ source: node.args, at: node.start })
  }

  /** Where the name of the method stands that is called on what ends at `end`; only `)`, blanks and comments are between. */
  #methodPlace(end: number): number {
    const between = /(?:[\s)]|\/\/[^\n]*)*\.(?:\s|\/\/[^\n]*)*/y
    between.lastIndex = end
    return end + (between.exec(this.#source)?.[0].length ?? 0)
  }
}

function isFree(node: ASTNode, bound: ReadonlySet<string>, name: string): boolean {
  return node.op === 'id' && node.args === name && !bound.has(name)
}

function isTypeCall(node: ASTNode): boolean {
  return node.op === 'call' && node.args[0] === 'type'
}

function isNoType(node: ASTNode): boolean {
  return !(node.op === 'id' && typeNames.has(node.args))
}

/**
 * Whether a filter that says `name` means the field `field`: it is the same, or the same but for `_` in the place of
 * characters that no identifier has there (`sc_status` for `sc-status`, `cs_User_Agent_` for `cs(User-Agent)`).
 */
export function meansField(name: string, field: string): boolean {
  if (name.length !== field.length) return false
  for (let i = 0; i < name.length; i += 1) {
    const code = field.charCodeAt(i)
    if (name.charCodeAt(i) === code) continue
    if (name.charCodeAt(i) !== 95 || isLetter(code) || (i > 0 && isDigit(code))) return false
  }
  return true
}

function isLetter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90)
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}
