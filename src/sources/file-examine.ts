/** What `doctor` tells of files that are read: may we, is anything there, and does it fit the configuration? */
import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import type { Finding, Signal } from '../core/component.ts'
import { problemOf, someOf, spread, timed } from '../core/findings.ts'
import { nearestFolder } from '../core/nearest-folder.ts'
import { counted, roughly } from '../telemetry/figures.ts'
import { growingAdvice, losesGrowing } from './file-check.ts'
import type { FileConfig } from './file-config.ts'
import { absolutePath } from './file-object.ts'
import { type FilePlace, locate } from './file-place.ts'
import type { FileStore } from './file-store.ts'
import { Walk } from './file-walk.ts'
import type { SftpConfig } from './sftp-config.ts'

/** Files after which looking ends. */
const mostFiles = 2000
const sampleSize = 50
/** More sessions than this are not tried: each is a login. */
const mostLogins = 4

export async function* examineLocal(store: FileStore, config: FileConfig, o: Signal): AsyncGenerator<Finding> {
  const place = yield* located(store, config, o)
  if (!place) return
  yield* files(store, config, place, o)
  const { root } = place.rules
  if (config.after !== 'none') yield await writable(root, `after: ${config.after}`)
  const target = place.moveTo
  if (target) {
    yield await writable(nearestFolder(target.folder), `move_to: ${config.move_to}`)
    const { bavail, blocks, bsize } = await statfs(nearestFolder(target.folder))
    const free = blocks === 0 ? 1 : bavail / blocks
    const text = `${Math.round((bavail * bsize) / 2 ** 20)} MiB (${Math.round(free * 100)} %) are free where files are moved to`
    if (free < 0.05) yield { level: 'warning', text, advice: 'make room there, or remove what was moved' }
    else yield { level: 'ok', text }
  }
}

/** `store` makes its own connections; `another` makes one more, of its own. */
export async function* examineSftp(
  store: FileStore,
  config: SftpConfig & FileConfig,
  o: Signal & { readonly another: () => FileStore },
): AsyncGenerator<Finding> {
  try {
    const { value: home, ms } = await timed((within) => store.resolve('.', within), o)
    const text = `${store.place}: host key known, logged in, SFTP speaks (${ms} ms); the user arrives in ${home}`
    yield { level: 'ok', text }
  } catch (error) {
    yield problemOf(error, o)
    return
  }
  yield* sessions(config, o)
  const place = yield* located(store, config, o)
  if (!place) return
  yield* files(store, config, place, o)
  if (config.after === 'none') return
  const text = `after: ${config.after} needs the right to change ${place.rules.root}, which only trying would show`
  yield { level: 'note', text, advice: 'the server must let this user delete or rename there' }
}

async function* sessions(
  { sessions }: SftpConfig,
  { signal, another }: Signal & { readonly another: () => FileStore },
): AsyncGenerator<Finding> {
  const more = Math.min(sessions, mostLogins) - 1
  if (more < 1) return
  const stores = Array.from({ length: more }, another)
  try {
    const asked = await Promise.allSettled(stores.map((store) => store.resolve('.', { signal })))
    signal.throwIfAborted()
    const refused = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
    if (refused.length === 0) yield { level: 'ok', text: `the server takes ${more + 1} connections at once` }
    else {
      const { text } = problemOf(refused[0], { signal })
      const advice = `set sessions: ${more + 1 - refused.length}, or let the server take more (MaxSessions, MaxStartups, a limit for this user)`
      yield {
        level: 'warning',
        text: `only ${more + 1 - refused.length} of ${more + 1} connections were taken: ${text}`,
        advice,
      }
    }
  } finally {
    await Promise.all(stores.map((store) => store[Symbol.asyncDispose]()))
  }
}

async function* located(
  store: FileStore,
  config: FileConfig,
  o: Signal,
): AsyncGenerator<Finding, FilePlace | undefined> {
  try {
    const place = await locate(store, config, o)
    yield { level: 'ok', text: `${store.place}${place.rules.root} is there` }
    return place
  } catch (error) {
    yield problemOf(error, o)
    return undefined
  }
}

async function* files(
  store: FileStore,
  config: FileConfig,
  { rules, only }: FilePlace,
  o: Signal,
): AsyncGenerator<Finding> {
  const found: Array<{ readonly path: string; readonly modifiedMs: number }> = []
  const problems: string[] = []
  let unwanted = 0
  const walk = new Walk({
    ...{ store, root: rules.root, followLinks: config.follow_links, signal: o.signal },
    names: only === undefined ? undefined : [only, rules.markerOf(only) ?? []].flat(),
    hasMarkers: config.finished.marker !== undefined,
    enters: (path) => rules.enters(path),
    isMarker: (path) => rules.isMarker(path),
    wants: (path) => {
      const isWanted = rules.unwanted(path) === undefined
      if (!isWanted) unwanted += 1
      return isWanted
    },
    problem: (path, reason) => problems.push(`${path} (${reason})`),
    passedOver: () => undefined,
  })
  let isAll = true
  try {
    for await (const page of walk.files()) {
      found.push(...page.files)
      isAll = found.length < mostFiles
      if (!isAll) break
    }
  } catch (error) {
    yield problemOf(error, o)
    return
  }
  const passedOver = unwanted === 0 ? '' : `, ${unwanted} are passed over by include, exclude or finished`
  if (found.length === 0) {
    const text = `no file is there to be read${passedOver}`
    yield { level: 'warning', text, advice: 'check path, include and exclude, if there should be some' }
  } else {
    const newest = found.toSorted((a, b) => a.modifiedMs - b.modifiedMs)
    const keys = spread(newest, sampleSize).map(({ path }) => absolutePath(rules.root, path))
    const ageMs = Math.max(0, Date.now() - (newest.at(-1)?.modifiedMs ?? 0))
    const files = `${isAll ? '' : 'at least '}${counted(found.length, 'file')}`
    const text = `${files}${passedOver}; the newest is ${keys.at(-1)}, changed ${roughly(ageMs)} ago`
    yield { level: 'ok', text, keys }
  }
  if (problems.length > 0) {
    const advice = 'give this user the right to read them, or exclude them'
    yield { level: 'warning', text: `${problems.length} cannot be read: ${someOf(problems)}`, advice }
  }
  if (losesGrowing(config)) {
    const text = `after: ${config.after} with a file that is being written: it would be read half and then be gone`
    yield { level: 'warning', text, advice: growingAdvice }
  }
}

async function writable(folder: string, why: string): Promise<Finding> {
  try {
    await access(folder, constants.W_OK | constants.X_OK)
    return { level: 'ok', text: `${folder} can be written to, as ${why} needs` }
  } catch {
    const text = `cannot write to ${folder}, as ${why} needs`
    return { level: 'problem', text, advice: 'give the folder to the user that runs this' }
  }
}
