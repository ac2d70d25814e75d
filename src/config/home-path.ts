import { homedir } from 'node:os'
import { join } from 'node:path'

/** A leading `~/` is the home folder, as in a shell. */
export function homePath(path: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path
}
