/** A file as an object: which one it is, and which version of it. */
import type { ListedObject, ObjectRef } from '../core/component.ts'
import type { ObjectEntry } from '../ledger/ledger.ts'

export interface FileObject extends ListedObject {
  readonly size: number
  /** Below the folder that is read. */
  readonly path: string
}

export interface FileVersion {
  readonly size: number
  readonly modifiedMs: number
}

/** `place/path@size-modified`: a file that was written again is another object. */
export function fileId(place: string, key: string, { size, modifiedMs }: FileVersion): string {
  return `${place}/${key}@${size}-${modifiedMs}`
}

/** The version in an id; undefined if it is none of ours. */
export function versionOf(id: string): FileVersion | undefined {
  const [, size, modifiedMs] = /@(\d+)-(-?\d+(?:\.\d+)?)$/.exec(id) ?? []
  return size === undefined ? undefined : { size: Number(size), modifiedMs: Number(modifiedMs) }
}

/** The path below the folder; the whole one if it is elsewhere. */
export function pathBelow(root: string, key: string): string {
  return isBelow(root, key) ? key.slice(root === '/' ? 0 : root.length) : key
}

export function isBelow(root: string, key: string): boolean {
  return root === '/' || key.startsWith(`${root.slice(1)}/`)
}

/** An object that the ledger, or its quarantine, names; undefined if it is no file. */
export function fileFromLedger(
  root: string,
  object: ObjectRef | ObjectEntry,
  createdMs: number,
): FileObject | undefined {
  const version = versionOf(object.id)
  if (!version) return undefined
  const { id, bucket, key } = object
  const timeMs = 'timeMs' in object ? object.timeMs : createdMs
  return { id, bucket, key, ...version, lastModifiedMs: version.modifiedMs, timeMs, path: pathBelow(root, key) }
}

export function absolutePath(root: string, path: string): string {
  if (path === '') return root
  return root === '/' ? `/${path}` : `${root}/${path}`
}
