import { constants } from 'node:fs'
import type { Attributes, FileEntryWithStats } from 'ssh2'
import type { FileEntry, FileFacts } from './file-store.ts'

/** An answer may leave out any of the attributes; ssh2 gives undefined for them. */
type Told = Partial<Attributes>

/** What the attributes say. Times are whole seconds in version 3 of the protocol; what is left out counts as 0. */
export function factsOf(attributes: Told, longname = ''): FileFacts {
  const { mode, size = 0, mtime = 0 } = attributes
  return { kind: mode === undefined ? kindOfLongname(longname) : kindOfMode(mode), size, modifiedMs: mtime * 1000 }
}

/** An entry of a folder; undefined if the server told too little of it, so that it must be asked about the entry alone. */
export function entryOf({ filename, longname, attrs }: FileEntryWithStats): FileEntry | undefined {
  const { mode, size, mtime }: Told = attrs
  if ((mode === undefined && !/^[-dlbcps]/.test(longname)) || size === undefined || mtime === undefined)
    return undefined
  return { name: filename, ...factsOf(attrs, longname) }
}

function kindOfMode(mode: number): FileFacts['kind'] {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return 'file'
    case constants.S_IFDIR:
      return 'folder'
    case constants.S_IFLNK:
      return 'link'
    default:
      return 'other'
  }
}

/** Servers that leave the mode out write the line that `ls -l` would. Without that too, only reading can tell: it may be a file. */
function kindOfLongname(longname: string): FileFacts['kind'] {
  if (longname.startsWith('d')) return 'folder'
  if (longname.startsWith('l')) return 'link'
  return /^[bcps]/.test(longname) ? 'other' : 'file'
}
