/** Cutting a Go time layout into literal text and verbs, as nextStdChunk of Go 1.26 does. */

/** Longest first where one starts like another, in the order in which Go looks for them. */
const verbs = (
  'January Jan Monday Mon MST 01 02 03 04 05 06 002 15 1 2006 2 _2 __2 3 4 5 PM pm ' +
  '-070000 -07:00:00 -0700 -07:00 -07 Z070000 Z07:00:00 Z0700 Z07:00 Z07'
).split(' ')

/** A verb as Go's documentation writes it; `.0` and `.9` stand for fractions of any length. */
export type Verb = string

export interface Token {
  /** Literal text before the verb. */
  readonly prefix: string
  /** Undefined in the last token, whose prefix is the rest of the layout. */
  readonly verb: Verb | undefined
  /** Length of a fraction. */
  readonly digits: number
}

export function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code >= 48 && code <= 57
}

function isLowerCase(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code >= 97 && code <= 122
}

function verbAt(layout: string, at: number): { verb: Verb; length: number; digits: number } | undefined {
  const first = layout[at]
  if (first === '.' || first === ',') {
    const digit = layout[at + 1]
    if (digit !== '0' && digit !== '9') return undefined
    let end = at + 1
    while (layout[end] === digit) end++
    if (isDigit(layout, end)) return undefined
    return { verb: digit === '0' ? '.0' : '.9', length: end - at, digits: end - at - 1 }
  }
  // `_2006` is an underscore and a year.
  if (first === '_' && layout.startsWith('2006', at + 1)) return undefined
  for (const verb of verbs) {
    if (!layout.startsWith(verb, at)) continue
    if ((verb === 'Jan' || verb === 'Mon') && isLowerCase(layout, at + 3)) continue
    return { verb, length: verb.length, digits: 0 }
  }
  return undefined
}

export function tokensOf(layout: string): Token[] {
  const tokens: Token[] = []
  let from = 0
  for (let at = 0; at < layout.length; ) {
    const found = verbAt(layout, at)
    if (found === undefined) {
      at++
      continue
    }
    tokens.push({ prefix: layout.slice(from, at), verb: found.verb, digits: found.digits })
    at += found.length
    from = at
  }
  tokens.push({ prefix: layout.slice(from), verb: undefined, digits: 0 })
  return tokens
}
