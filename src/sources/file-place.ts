/** Where the files of a source are, as the store has it now: the folder, what of it is read, and where files go afterwards. */
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { FileConfig } from './file-config.ts'
import { absolutePath, pathBelow } from './file-object.ts'
import { FileRules, splitGlob } from './file-rules.ts'
import type { FileStore } from './file-store.ts'
import { escapeGlob, type MoveTarget, moveTarget, targetPath } from './file-template.ts'
import type { FoundFile } from './file-walk.ts'

export interface FilePlace {
  readonly rules: FileRules
  /** Where files are moved to; undefined if they are not. */
  readonly moveTo: MoveTarget | undefined
  /** Name of the file, if only one is meant: then its folder need not be listed. */
  readonly only: string | undefined
}

/** Throws source.access if there is no such path. */
export async function locate(store: FileStore, config: FileConfig, o: Signal): Promise<FilePlace> {
  const { root, pattern, only } = await rootOf(store, config.path, o)
  const moveTo = config.move_to === undefined ? undefined : moveTarget(root, config.move_to)
  if (moveTo !== undefined) refuseItself(root, moveTo)
  return { rules: new FileRules({ config, root, pattern, moveTo }), moveTo, only }
}

/** The file of that name: a whole path, or one below the folder. Throws source.vanished if there is none. */
export async function findFile(store: FileStore, root: string, name: string, o: Signal): Promise<FoundFile> {
  const { place } = store
  const wanted = name.startsWith(`${place}/`) ? name.slice(place.length) : name
  for (const path of wanted.startsWith('/') ? [wanted] : [absolutePath(root, wanted), `/${wanted}`]) {
    const facts = await store.stat(path, o)
    if (facts?.kind === 'file') return { ...facts, path: pathBelow(root, path.slice(1)) }
  }
  throw new StreamError(
    'source.vanished',
    `there is no file ${JSON.stringify(wanted)} in ${place}${root} (name its whole path, or the one below that)`,
  )
}

async function rootOf(
  store: FileStore,
  path: string,
  o: Signal,
): Promise<{ readonly root: string; readonly pattern?: string; readonly only?: string }> {
  const glob = splitGlob(path)
  const exact = glob === undefined ? path : await existing(store, path, o)
  if (glob !== undefined && exact === undefined)
    return { root: await folderOf(store, glob.folder, o), pattern: glob.pattern }
  const real = await store.resolve(exact ?? path, o)
  const facts = await store.stat(real, o)
  if (facts?.kind === 'folder') return { root: real }
  if (facts?.kind !== 'file')
    throw noSuch(store, real, facts === undefined ? 'there is nothing' : 'it is neither a file nor a folder')
  // Under the name that it was given, also if that is a link.
  const [, folder = '', only = ''] = /^(.*?)([^/]*)\/*$/s.exec(exact ?? path) ?? []
  return { root: await store.resolve(folder === '' ? '.' : folder, o), pattern: escapeGlob(only), only }
}

/** The path, if something has this very name, whatever a glob would make of it. */
async function existing(store: FileStore, path: string, o: Signal): Promise<string | undefined> {
  const absolute = path.startsWith('/') ? path : `${await store.resolve('.', o)}/${path}`
  return (await store.stat(absolute, o)) ? absolute : undefined
}

async function folderOf(store: FileStore, path: string, o: Signal): Promise<string> {
  const real = await store.resolve(path, o)
  const facts = await store.stat(real, o)
  if (facts?.kind === 'folder') return real
  throw noSuch(store, real, facts === undefined ? 'there is no such folder' : 'it is no folder')
}

function noSuch(store: FileStore, path: string, reason: string): StreamError {
  const text = `cannot read ${store.place}${path}: ${reason} (check \`path\`, and what this user is allowed to see)`
  return new StreamError('source.access', text, { data: { path } })
}

/** Files that were moved to where they are read would be read again, for ever. */
function refuseItself(root: string, moveTo: MoveTarget): void {
  const rules = new FileRules({
    config: {
      include: [],
      exclude: [],
      recursive: true,
      min_age: 0,
      finished: { stable: 1, marker: undefined, temporary: [] },
    },
    root,
    moveTo,
  })
  const probes = ['5f1d-probe.gz', '5f1d-folder/5f1d-probe.gz']
  const taken = probes.find(
    (path) =>
      rules.unwanted(path) !== undefined || targetPath(moveTo, { path, timeMs: 0 }) === absolutePath(root, path),
  )
  if (taken === undefined) return
  throw new StreamError(
    'config.invalid',
    `cannot move files to ${moveTo.folder}${moveTo.template}: that is where they are read, and no file there would be told from one that was moved (name a folder of its own in move_to)`,
  )
}
