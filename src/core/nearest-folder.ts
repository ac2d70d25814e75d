/** The folder, or the nearest one above it that is there: a run makes the rest. */
import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

export function nearestFolder(folder: string): string {
  let at = resolve(folder)
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at)
  return at
}
