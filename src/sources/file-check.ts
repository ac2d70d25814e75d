/** Proves that files can be listed where they should be, and tells what would go wrong later. */
import type { Log, Signal } from '../core/component.ts'
import type { FileConfig } from './file-config.ts'
import { locate } from './file-place.ts'
import type { FileStore } from './file-store.ts'

/** Throws a StreamError that says what to do. */
export async function checkFiles(
  store: FileStore,
  config: FileConfig,
  o: Signal & { readonly log: Log },
): Promise<void> {
  const { path, after } = config
  const { log } = o
  const place = await locate(store, config, o)
  let isEmpty = place.only === undefined
  for await (const entries of isEmpty ? store.list(place.rules.root, o) : []) {
    isEmpty = entries.length === 0
    if (!isEmpty) break
  }
  if (isEmpty) log.warn({ path }, 'the folder is empty: check `path` if it should not be')
  if (losesGrowing(config)) {
    log.warn({ after }, `a file that is being written would be read half and then be gone: ${growingAdvice}`)
  }
}

export const growingAdvice =
  'set min_age, finished.stable, finished.marker or finished.temporary if files grow where they are read'

/** True if a file may be taken while it grows, and is not there to be read again. */
export function losesGrowing({ after, min_age, finished }: FileConfig): boolean {
  const isBlind = min_age === 0 && finished.stable === 1 && finished.marker === undefined
  return after !== 'none' && isBlind && finished.temporary.length === 0
}
