/**
 * Keys made from a template: which templates are right, and the key of an object, or of a batch of records.
 *
 * A template is cut at its slashes, and a segment that is made of nothing but empty verbs is left out with its slash: `{dir}/{name}`
 * of a file in the top folder is its name. What verbs stand for is never changed: names keep spaces, line feeds and slashes.
 */

import { suggestion } from '../config/problems.ts'
import type { ListedObject, Origin } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'

export type KeyMode = 'objects' | 'records'

/** S3's limit. https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
const maxKeyBytes = 1024
/** The last ms with a year of four digits. */
const lastMs = Date.UTC(10_000, 0, 1) - 1

const timeVerbs = ['date', 'yyyy', 'MM', 'dd', 'HH', 'mm', 'ss']
const verbsOf: Readonly<Record<KeyMode, readonly string[]>> = {
  objects: ['path', 'dir', 'name', 'stem', 'ext', 'key', 'bucket', 'pipeline', ...timeVerbs],
  records: ['id', 'ext', 'bucket', 'pipeline', ...timeVerbs],
}
/** What a verb stands for; asked only for those that are there. */
type Values = (verb: string) => string | undefined
/** Text and verbs by turns, text first. */
type Segment = readonly string[]

/** Why no key can be made from the template; undefined if it can. */
export function keyProblem(template: string, mode: KeyMode): string | undefined {
  const problem = textProblem(template, mode)
  if (problem !== undefined) return problem
  if (template === '') return 'must not be empty'
  if (template.endsWith('/'))
    return `ends with a slash: say what comes below, like ${template}{${mode === 'objects' ? 'path' : 'id'}}`
  if (mode === 'records' && !template.includes('{id}'))
    return 'must hold {id}: without it each batch would take the place of the one before'
  return keyFault(template)
}

/** Why the text is no template; undefined if it is one. */
export function textProblem(text: string, mode: KeyMode): string | undefined {
  const known = verbsOf[mode]
  for (const [whole, verb] of text.matchAll(/\{([^{}]*)\}?|\}/g)) {
    if (verb === undefined) return 'has a } without a {'
    if (!whole.endsWith('}')) return `has a { without a }: ${whole}`
    if (known.includes(verb)) continue
    const other = mode === 'objects' ? 'records' : 'objects'
    if (verbsOf[other].includes(verb)) return `${whole} is for \`mode: ${other}\`; known are ${listOf(known)}`
    return `unknown ${whole}${suggestion(verb, known) || `, known are ${listOf(known)}`}`
  }
  return undefined
}

function listOf(verbs: readonly string[]): string {
  return verbs.map((verb) => `{${verb}}`).join(' ')
}

/** What is the same at the start of every key; for listing what was made. */
export function fixedPrefix(template: string, pipeline: string): string {
  const [fixed = ''] = template.replaceAll('{pipeline}', pipeline).split('{', 1)
  return fixed
}

/** Keys of whole objects. */
export class ObjectKeys {
  readonly #template: string
  readonly #segments: readonly Segment[]
  readonly #pipeline: string

  /** The template is as `keyProblem` has let it pass. */
  constructor(template: string, pipeline: string) {
    this.#template = template
    this.#segments = segmentsOf(template)
    this.#pipeline = pipeline
  }

  /** Throws sink.rejected if no object can have the key. */
  keyOf(object: ListedObject): string {
    const key = join(this.#segments, objectValues(object, this.#pipeline))
    const fault = keyFault(key)
    if (fault === undefined) return key
    throw new StreamError(
      'sink.rejected',
      `cannot make a key of ${this.#template} for ${object.bucket}/${object.key}: the key ${fault} (change \`key\`, or rename the object)`,
      { data: { bucket: object.bucket, key: object.key } },
    )
  }
}

/** Keys of batches of records. */
export class RecordKeys {
  readonly #template: string
  readonly #segments: readonly Segment[]
  readonly #pipeline: string

  /** The template is as `keyProblem` has let it pass. */
  constructor(template: string, pipeline: string) {
    this.#template = template
    this.#segments = segmentsOf(template)
    this.#pipeline = pipeline
  }

  /** Records of origins with the same one may share an object. Key but for {id}, so one that holds {id} itself. */
  groupOf(origin: Origin, ext: string): string {
    return this.#join(origin, '{id}', ext)
  }

  /** Throws sink.rejected if no object can have the key. */
  keyOf(origin: Origin, id: string, ext: string): string {
    const key = this.#join(origin, id, ext)
    const fault = keyFault(key)
    if (fault === undefined) return key
    throw new StreamError(
      'sink.rejected',
      `cannot make a key of ${this.#template} for records of ${origin.bucket}/${origin.key}: the key ${fault} (change \`key\`)`,
      { data: { bucket: origin.bucket, key: origin.key } },
    )
  }

  #join(origin: Origin, id: string, ext: string): string {
    return join(this.#segments, recordValues(origin, { id, ext, pipeline: this.#pipeline }))
  }
}

/** A text with verbs that is no key, such as a value of metadata; as `textProblem` has let it pass. */
export function objectText(text: string, object: ListedObject, pipeline: string): string {
  return fill(text.split(/[{}]/), objectValues(object, pipeline))
}

/** The same for a batch of records. `origin` is that of the first. */
export function recordText(
  text: string,
  origin: Origin,
  o: { readonly id: string; readonly ext: string; readonly pipeline: string },
): string {
  return fill(text.split(/[{}]/), recordValues(origin, o))
}

function segmentsOf(template: string): Segment[] {
  return template.split('/').map((segment) => segment.split(/[{}]/))
}

function join(segments: readonly Segment[], values: Values): string {
  const filled: string[] = []
  for (const segment of segments) {
    const text = fill(segment, values)
    if (text !== '' || segment.length === 1) filled.push(text)
  }
  return filled.join('/')
}

function fill(pieces: readonly string[], values: Values): string {
  let text = ''
  for (const [i, piece] of pieces.entries()) text += i % 2 === 0 ? piece : (values(piece) ?? '')
  return text
}

function objectValues(object: ListedObject, pipeline: string): Values {
  const path = object.path ?? object.key
  return (verb) => {
    switch (verb) {
      case 'path':
        return path
      case 'key':
        return object.key
      case 'dir':
        return path.slice(0, Math.max(0, lastSlash(path)))
      case 'name':
        return path.slice(lastSlash(path) + 1)
      case 'stem':
        return path.slice(lastSlash(path) + 1, extAt(path))
      case 'ext':
        return path.slice(extAt(path))
      default:
        return commonValue(verb, object, pipeline)
    }
  }
}

/** The slash at the end of a folder marker belongs to its name, so that {dir}/{name} is {path}. */
function lastSlash(path: string): number {
  return path.lastIndexOf('/', path.length - 2)
}

/** A dot at the start of a name is no extension's. */
function extAt(path: string): number {
  const dot = path.lastIndexOf('.')
  return dot > lastSlash(path) + 1 ? dot : path.length
}

function recordValues(
  origin: Origin,
  { id, ext, pipeline }: { readonly id: string; readonly ext: string; readonly pipeline: string },
): Values {
  return (verb) => (verb === 'id' ? id : verb === 'ext' ? ext : commonValue(verb, origin, pipeline))
}

function commonValue(verb: string, { bucket, timeMs }: Origin, pipeline: string): string | undefined {
  if (verb === 'pipeline') return pipeline
  // Of a source of files it is a URL.
  if (verb === 'bucket') return bucket.replace(/^\w+:\/\//, '')
  const ms = Number.isFinite(timeMs) ? Math.min(Math.max(timeMs, 0), lastMs) : 0
  const [yyyy = '', MM = '', dd = '', HH = '', mm = '', ss = ''] = new Date(ms).toISOString().split(/[-T:.]/)
  const values: Readonly<Record<string, string>> = { date: `${yyyy}-${MM}-${dd}`, yyyy, MM, dd, HH, mm, ss }
  return values[verb]
}

/** Why no object can have the key; undefined if one can. */
function keyFault(key: string): string | undefined {
  if (key === '') return 'would be empty'
  const bytes = Buffer.byteLength(key)
  if (bytes > maxKeyBytes) return `would have ${bytes} bytes, and S3 takes ${maxKeyBytes}`
  if (!key.isWellFormed()) return 'would hold half a character, which has no bytes in UTF-8'
  // Whoever reads the bucket by path would find another object, or one outside of it.
  const dots = key.split('/').find((segment) => segment === '.' || segment === '..')
  return dots === undefined ? undefined : `would have the segment ${JSON.stringify(dots)}`
}
