/**
 * Globs over object keys, translated to RE2: matching takes time linear in the key, whatever the glob and whoever
 * wrote the key. In a bucket others choose the names, and a backtracking glob (picomatch makes JavaScript expressions)
 * takes 0.4 s for `*_*_*_*.gz` on a key of 400 underscores, and sixteen times as long on one twice as long.
 *
 *   *    any characters within a segment       [a-c]    one of them
 *   **   any characters, over segments; with   [!a-c]   any other but `/`; [^a-c] is the same
 *        a `/` after it, whole segments, or    {a,b}    either; may nest
 *        none                                  \x       x itself
 *   ?    one character but `/`
 *
 * A glob without `/` is matched against the base name. One with `/` is matched against the last segments of the key:
 * `error/*.log` fits `error/a.log` and `prod/db1/error/a.log`. With a leading `/` it must fit the whole key.
 */
import { RE2JS } from 're2js'

/** Why a text is no glob. */
export class GlobError extends Error {}

/** RE2 source for a glob. Throws GlobError. */
function regexFromGlob(glob: string): string {
  let regex = ''
  let depth = 0
  for (let i = 0; i < glob.length; ) {
    const char = String.fromCodePoint(glob.codePointAt(i) as number)
    i += char.length
    if (char === '*' && glob[i] === '*') {
      while (glob[i] === '*') i++
      if (glob[i] === '/') {
        i++
        regex += '(?:.*/)?'
      } else {
        regex += '.*'
      }
    } else if (char === '*') {
      regex += '[^/]*'
    } else if (char === '?') {
      regex += '[^/]'
    } else if (char === '{') {
      depth++
      regex += '(?:'
    } else if (char === '}' && depth > 0) {
      depth--
      regex += ')'
    } else if (char === ',' && depth > 0) {
      regex += '|'
    } else if (char === '[') {
      const set = /^([!^]?)(\]?(?:\\.|[^\]\\])*)\]/su.exec(glob.slice(i))
      if (set === null || set[2] === '') throw new GlobError(`"[" at character ${i} is not closed by "]"`)
      i += set[0].length
      regex += setRegex(set[1] !== '', set[2] as string)
    } else if (char === '\\') {
      if (i === glob.length) throw new GlobError('it ends in a backslash that escapes nothing')
      const escaped = String.fromCodePoint(glob.codePointAt(i) as number)
      i += escaped.length
      regex += RE2JS.quote(escaped)
    } else {
      regex += RE2JS.quote(char)
    }
  }
  if (depth > 0) throw new GlobError('"{" is not closed by "}"')
  return regex
}

function setRegex(negated: boolean, body: string): string {
  const members = body.replaceAll(/\\(.)|([[\]^&~])/gsu, (_, escaped?: string, special?: string) => {
    const member = (escaped ?? special) as string
    return `\\x{${(member.codePointAt(0) as number).toString(16)}}`
  })
  return negated ? `[^/${members}]` : `[${members}]`
}

/** The literal text with which every match ends, and the longest that every match has: checks that spare most keys the regex. */
function literalsOf(glob: string): { ending: string; part: string } {
  const special = /[*?[\]{},\\]/
  const ending = glob.split(special).at(-1) as string
  // Inside brackets and braces nothing has to be there: the part is taken from before the first of them.
  const [outside = ''] = glob.split(/[[{\\]/, 1)
  const part = outside.split(special).reduce((longest, next) => (next.length > longest.length ? next : longest), '')
  return { ending, part: part.startsWith('/') ? part.slice(1) : part }
}

/** True if the glob fits the key. Throws GlobError at compile time. */
export function compileGlob(glob: string): (key: string) => boolean {
  const anchored = glob.startsWith('/')
  const pattern = anchored ? glob.slice(1) : glob
  if (pattern === '') throw new GlobError('it is empty')
  const whole = pattern.includes('/') || pattern.includes('**')
  const start = anchored || !whole ? '^' : '(?:^|/)'
  let regex: RE2JS
  try {
    regex = RE2JS.compile(`${start}(?:${regexFromGlob(pattern)})$`, RE2JS.DOTALL)
  } catch (error) {
    if (error instanceof GlobError) throw error
    throw new GlobError(error instanceof Error ? error.message : String(error))
  }
  const { ending, part } = literalsOf(pattern)
  if (anchored || whole) return (key) => key.endsWith(ending) && key.includes(part) && regex.test(key)
  return (key) => key.endsWith(ending) && key.includes(part) && regex.test(key.slice(key.lastIndexOf('/') + 1))
}
