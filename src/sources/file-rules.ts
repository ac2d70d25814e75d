/** Which files of a tree are read, and whether they are finished yet. */
import { compileGlob } from '../formats/glob.ts'
import type { FileConfig } from './file-config.ts'
import { absolutePath } from './file-object.ts'
import { type MoveTarget, renderTemplate, targetGlob, templateGlob } from './file-template.ts'

/** Why a file is none to read; undefined if it is one. */
export type Unwanted = 'excluded' | 'temporary' | 'marker'
/** Why a file is left for a later poll; undefined if it is finished. */
export type Unfinished = 'young' | 'changing' | 'unmarked'

export interface RulesOptions {
  readonly config: Pick<FileConfig, 'include' | 'exclude' | 'recursive' | 'min_age' | 'finished'>
  /** Absolute path of the folder that is read. */
  readonly root: string
  /** A glob that every path below the folder must fit as a whole. */
  readonly pattern?: string | undefined
  /** Where files are moved to afterwards: what lies there is not read. */
  readonly moveTo?: MoveTarget | undefined
}

/** So much may lie between two clocks without a word. */
const clockSlackMs = 300_000

type Matcher = (path: string) => boolean

function anyOf(globs: readonly string[]): Matcher {
  const matchers = globs.map(compileGlob)
  return (path) => matchers.some((matches) => matches(path))
}

export class FileRules {
  readonly root: string
  readonly #o: RulesOptions
  readonly #included: Matcher
  readonly #excluded: Matcher
  readonly #fits: Matcher
  readonly #isTemporary: Matcher
  readonly #isMarker: Matcher
  readonly #isMoved: Matcher
  /** Folders, with a slash behind them, of which everything is left out; below the one that is read, and as whole paths. */
  readonly #closed: Matcher
  readonly #closedWhole: Matcher
  readonly #depth: number

  /** Throws what `compileGlob` throws. */
  constructor(o: RulesOptions) {
    const { config, root, pattern, moveTo } = o
    const { include, exclude, finished } = config
    this.root = root
    this.#o = o
    this.#included = include.length === 0 ? () => true : anyOf(include)
    this.#excluded = anyOf(exclude)
    this.#fits = pattern === undefined ? () => true : compileGlob(`/${pattern}`)
    this.#isTemporary = anyOf(finished.temporary)
    this.#isMarker = anyOf(finished.marker === undefined ? [] : [templateGlob(finished.marker)])
    // Where a name is taken already, a number is put behind it.
    const numbered = '{,.[0-9],.[0-9][0-9],.[0-9][0-9][0-9]}'
    const moved = moveTo === undefined ? [] : [targetGlob(moveTo)]
    this.#isMoved = anyOf([...moved, ...moved.map((glob) => `${glob}${numbered}`)])
    // Only where all below is left out for sure: a glob that ends otherwise may fit the folder and not what is in it.
    const isWhole = (glob: string) => glob.endsWith('/**')
    this.#closed = anyOf(exclude.filter(isWhole))
    this.#closedWhole = anyOf(moved.filter(isWhole))
    this.#depth = depthOf(config.recursive, pattern)
  }

  /** `path` is below the folder. */
  unwanted(path: string): Unwanted | undefined {
    if (this.#isMarker(path)) return 'marker'
    if (!this.#fits(path) || !this.#included(path) || this.#excluded(path)) return 'excluded'
    if (this.#isMoved(this.#keyOf(path))) return 'excluded'
    return this.#isTemporary(path) ? 'temporary' : undefined
  }

  /** True if something in the folder at `path`, which is below the one that is read, may be wanted. */
  enters(path: string): boolean {
    if (path.split('/').length > this.#depth) return false
    return !this.#closed(`${path}/`) && !this.#closedWhole(this.#keyOf(`${path}/`))
  }

  /** True if a walk through the folder would come to the file at `path` and want it. */
  reaches(path: string): boolean {
    const folders = [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))
    return folders.every((folder) => this.enters(folder)) && this.unwanted(path) === undefined
  }

  /** The whole path without its first slash, as globs with one in front compare it. */
  #keyOf(path: string): string {
    return absolutePath(this.root, path).slice(1)
  }

  /** Name of the file that says that the one at `path` is finished. */
  markerOf(path: string): string | undefined {
    const { marker } = this.#o.config.finished
    return marker === undefined ? undefined : renderTemplate(marker, { path, timeMs: 0 })
  }

  /** True if each file has a marker of its own, which goes where the file goes. */
  get hasOwnMarkers(): boolean {
    return /\{(name|stem)\}/.test(this.#o.config.finished.marker ?? '')
  }

  isMarker(path: string): boolean {
    return this.#isMarker(path)
  }
}

function depthOf(recursive: boolean, pattern: string | undefined): number {
  if (!recursive) return 0
  if (pattern === undefined || pattern.includes('**')) return Number.POSITIVE_INFINITY
  return pattern.split('/').length - 1
}

interface Sight {
  readonly version: string
  sinceMs: number
  polls: number
  lastPoll: number
}

export interface Candidate {
  readonly path: string
  readonly size: number
  readonly modifiedMs: number
}

/** Tells files that are finished from those that are being written: by age, by marker, by what earlier polls saw. */
export class Finish {
  readonly #config: Pick<FileConfig, 'min_age' | 'finished'>
  readonly #once: boolean
  readonly #toldSkew: (file: Candidate, aheadMs: number) => void
  readonly #sights = new Map<string, Sight>()
  #poll = 0
  #hasToldSkew = false

  /** With `once` there is no later poll for a file from the future. */
  constructor(o: {
    readonly config: Pick<FileConfig, 'min_age' | 'finished'>
    readonly once: boolean
    /** Called for the first file that is from the future by more than clocks differ. */
    readonly skewed: (file: Candidate, aheadMs: number) => void
  }) {
    this.#config = o.config
    this.#once = o.once
    this.#toldSkew = o.skewed
  }

  /** `hasMarker`: its marker stands beside it. Asked for each file once in a poll. */
  unfinished(file: Candidate, hasMarker: boolean, nowMs: number): Unfinished | undefined {
    const { min_age, finished } = this.#config
    const { stable, marker } = finished
    const aheadMs = file.modifiedMs - nowMs
    const isAhead = min_age > 0 && aheadMs > clockSlackMs
    const sight = stable > 1 || isAhead ? this.#see(file, nowMs) : undefined
    if (isAhead && !this.#hasToldSkew) {
      this.#hasToldSkew = true
      this.#toldSkew(file, aheadMs)
    }
    // By its own clock it would be young for ever: it counts from when it was first seen as it is.
    const sinceMs = isAhead ? (sight?.sinceMs ?? nowMs) : file.modifiedMs
    const isYoung = min_age > 0 && nowMs - sinceMs < min_age && !(isAhead && this.#once)
    if (sight && sight.polls < stable) return 'changing'
    if (isYoung) return 'young'
    return marker !== undefined && !hasMarker ? 'unmarked' : undefined
  }

  #see({ path, size, modifiedMs }: Candidate, nowMs: number): Sight {
    const version = `${size}-${modifiedMs}`
    const known = this.#sights.get(path)
    const isSame = known?.version === version
    const sight = isSame ? known : { version, sinceMs: nowMs, polls: 0, lastPoll: -1 }
    if (sight.lastPoll !== this.#poll) sight.polls += 1
    sight.lastPoll = this.#poll
    // A clock that was set back must not hold it for as long.
    sight.sinceMs = Math.min(sight.sinceMs, nowMs)
    this.#sights.set(path, sight)
    return sight
  }

  /** It was given out, or is gone. */
  forget(path: string): void {
    this.#sights.delete(path)
  }

  /** A poll went through everything: what it did not see is forgotten. */
  polled(): void {
    for (const [path, { lastPoll }] of this.#sights) if (lastPoll !== this.#poll) this.#sights.delete(path)
    this.#poll += 1
  }
}

/** The folder in a path, and the glob behind it: `/in/2026/*.csv` is `*.csv` below `/in/2026`. undefined if there is no glob in it. */
export function splitGlob(path: string): { readonly folder: string; readonly pattern: string } | undefined {
  const names = path.replace(/\/+$/, '').split('/')
  const first = names.findIndex((name) => /[*?[{]/.test(name.replaceAll(/\\./g, '')))
  if (first < 0) return undefined
  const folder = names
    .slice(0, first)
    .map((name) => name.replaceAll(/\\(.)/g, '$1'))
    .join('/')
  // With a slash at its end it means what is in those folders.
  const pattern = [...names.slice(first), ...(path.endsWith('/') ? ['**'] : [])].join('/')
  return { folder: folder === '' ? (path.startsWith('/') ? '/' : '.') : folder, pattern }
}
