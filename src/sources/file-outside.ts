/** What a source of files depends on: the folder, on this machine or on a server. */
import type { Context, Finding, Signal } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import type { FileConfig } from './file-config.ts'
import { locate } from './file-place.ts'
import type { FileStore } from './file-store.ts'

export interface FileOutside {
  readonly state: DependencyState
  examine(o: Signal): AsyncIterable<Finding>
}

/** A folder of this machine. */
export function folderOutside(config: FileConfig, { nowMs }: Pick<Context, 'nowMs'>, store: FileStore): FileOutside {
  const probe = async (o: Signal) => void (await locate(store, config, o))
  return {
    state: new DependencyState({ name: `directory ${config.path}`, nowMs, probe }),
    async *examine(o) {
      const { examineLocal } = await import('./file-examine.ts')
      yield* examineLocal(store, config, o)
    },
  }
}
