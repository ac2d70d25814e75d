/** The files of a time range, whatever became of them: for a replay. */
import type { ReplayRange, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { FileConfig } from './file-config.ts'
import { absolutePath, type FileObject } from './file-object.ts'
import type { FilePlace } from './file-place.ts'
import { Finish } from './file-rules.ts'
import type { FileStore } from './file-store.ts'
import { type FoundFile, Walk } from './file-walk.ts'

export interface ReplayedFolder {
  readonly store: FileStore
  readonly config: Pick<FileConfig, 'min_age' | 'finished' | 'follow_links'>
  readonly place: FilePlace
  readonly objectOf: (file: FoundFile) => FileObject
  readonly nowMs: () => number
}

/**
 * Time is by the name, else of the last change. What is not finished by its age or marker is left to the polls, and so is what
 * the rules leave out.
 */
export async function* replayedFiles(
  { store, config, place, objectOf, nowMs }: ReplayedFolder,
  { fromMs, toMs, prefix }: ReplayRange,
  o: Signal,
): AsyncGenerator<FileObject, void, undefined> {
  const { rules, only } = place
  const { root } = rules
  const { min_age, finished, follow_links: followLinks } = config
  const finish = new Finish({ config: { min_age, finished: { ...finished, stable: 1 } }, once: true, skewed: ignored })
  // A path is given as it is below the folder, as a whole one, or with its server.
  const namesOf = (path: string) => [path, absolutePath(root, path), `${store.place}${absolutePath(root, path)}`]
  let unread = ''
  const walk = new Walk({
    ...{ store, root, followLinks, signal: o.signal },
    names: only === undefined ? undefined : [only, rules.markerOf(only) ?? []].flat(),
    hasMarkers: finished.marker !== undefined,
    enters: (path) =>
      rules.enters(path) && namesOf(`${path}/`).some((name) => name.startsWith(prefix) || prefix.startsWith(name)),
    isMarker: (path) => rules.isMarker(path),
    wants: (path) => rules.unwanted(path) === undefined && namesOf(path).some((name) => name.startsWith(prefix)),
    problem: (path, reason) => {
      unread ||= `${path} (${reason})`
    },
    passedOver: ignored,
  })
  for await (const { files, hasMarker } of walk.files()) {
    for (const file of files) {
      const object = objectOf(file)
      if (object.timeMs < fromMs || object.timeMs >= toMs) continue
      const marker = rules.markerOf(file.path)
      if (finish.unfinished(file, marker !== undefined && hasMarker(marker), nowMs()) === undefined) yield object
    }
  }
  if (walk.isWhole) return
  const text = `cannot list all of ${store.place}${root}: ${unread} (allow this user to see it, or exclude it)`
  throw new StreamError('source.access', text)
}

function ignored(): void {}
