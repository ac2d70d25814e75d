/** Names made from a file's own: where it is moved to, and what its marker is called. */
import { closest } from '../config/closest.ts'

export class TemplateError extends Error {}

/** What a template may say of a file. */
export interface TemplateFacts {
  /** Path below the folder that is read. */
  readonly path: string
  readonly timeMs: number
}

type Verb = (o: TemplateFacts) => string

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
/** Where the extension begins; a leading dot begins none. */
const dotOf = (name: string): number => {
  const dot = name.lastIndexOf('.')
  return dot > 0 ? dot : name.length
}
/** Times that JavaScript cannot show say nothing, and the epoch says so. */
const isoOf = (timeMs: number): string => new Date(Math.abs(timeMs) <= 8.64e15 ? timeMs : 0).toISOString()
const timePart =
  (from: number, to: number): Verb =>
  ({ timeMs }) =>
    // Nor does a year of more than four digits, which begins with a sign.
    (/^\d/.test(isoOf(timeMs)) ? isoOf(timeMs) : isoOf(0)).slice(from, to)

const verbs: Readonly<Record<string, Verb>> = {
  path: ({ path }) => path,
  dir: ({ path }) => path.slice(0, Math.max(path.lastIndexOf('/'), 0)),
  name: ({ path }) => nameOf(path),
  stem: ({ path }) => nameOf(path).slice(0, dotOf(nameOf(path))),
  ext: ({ path }) => nameOf(path).slice(dotOf(nameOf(path))),
  date: timePart(0, 10),
  yyyy: timePart(0, 4),
  MM: timePart(5, 7),
  dd: timePart(8, 10),
  HH: timePart(11, 13),
  mm: timePart(14, 16),
  ss: timePart(17, 19),
}

/** The verbs in a template. Throws TemplateError for one that is unknown. */
export function templateVerbs(template: string, known: readonly string[] = Object.keys(verbs)): string[] {
  return [...template.matchAll(/\{([^{}]*)\}?|\}/g)].map(([all, verb]) => {
    if (verb !== undefined && all.endsWith('}') && known.includes(verb)) return verb
    const meant = closest(verb ?? '', known)
    const list = known.map((name) => `{${name}}`).join(' ')
    throw new TemplateError(
      `unknown ${all}${meant === undefined ? '' : `, did you mean {${meant}}?`} (known are ${list})`,
    )
  })
}

export function renderTemplate(template: string, facts: TemplateFacts): string {
  return template.replaceAll(/\{(\w+)\}/g, (all, verb: string) => verbs[verb]?.(facts) ?? all)
}

/** A glob for everything that the template may make. */
export function templateGlob(template: string): string {
  const names = template.split('/')
  return names
    .map((name, i) => {
      if (i === names.length - 1) return nameGlob(name)
      if (!mayBeEmpty(name) || name === '') return `${nameGlob(name)}/`
      // A folder that is left out takes its slash with it.
      return name.includes('{dir}') ? '**/' : '{*/,}'
    })
    .join('')
}

/** True if nothing in it is there for every file. */
export function mayBeEmpty(name: string): boolean {
  return name.replaceAll(/\{(?:dir|ext)\}/g, '') === ''
}

function nameGlob(template: string): string {
  let glob = ''
  /** Stars that wait for what follows: two wild pieces that touch are one, since `**` made of two `*` would reach over folders. */
  let stars = ''
  for (const piece of template.split(/(\{\w+\})/)) {
    if (piece === '') continue
    const reach = piece === '{path}' || piece === '{dir}' ? '**' : '*'
    if (/^\{\w+\}$/.test(piece)) stars = stars.length > reach.length ? stars : reach
    else {
      glob += stars + escapeGlob(piece)
      stars = ''
    }
  }
  return glob + stars
}

export function escapeGlob(text: string): string {
  return text.replaceAll(/[*?[\]{},\\!^]/g, '\\$&')
}

/** Where files go, each by a path of its own. */
export interface MoveTarget {
  /** In front of the template; it is no part of it, whatever its name. Empty for an absolute template. */
  readonly folder: string
  readonly template: string
}

/** A template without a name in it is a folder for whole paths. */
export function moveTarget(root: string, template: string): MoveTarget {
  const hasName = templateVerbs(template).some((verb) => ['path', 'name', 'stem'].includes(verb))
  const named = hasName ? template : `${template}/{path}`
  const folder = named.startsWith('/') ? '' : `${root === '/' ? '' : root}/`
  return { folder, template: cleanPath(named.replaceAll(/(?:^|(?<=\/))\.\//g, '')) }
}

export function targetPath({ folder, template }: MoveTarget, facts: TemplateFacts): string {
  return cleanPath(folder + renderTemplate(template, facts))
}

/** A glob for everything that may lie there, with a slash in front. */
export function targetGlob({ folder, template }: MoveTarget): string {
  return escapeGlob(folder) + templateGlob(template)
}

/** Verbs may be empty: without what they stand for there is one slash too many. */
function cleanPath(path: string): string {
  return path.replaceAll(/\/{2,}/g, '/')
}
