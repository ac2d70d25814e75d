import { sourceConformance } from '../../test/conformance/source.ts'
import type { SourceHarness } from '../../test/conformance/source-harness.ts'
import { denied, FileBed, hang, untilListed, withObjects } from '../../test/servers/file-bed.ts'

sourceConformance('directory', async (): Promise<SourceHarness> => {
  const bed = new FileBed()
  return {
    start: async (how = 'stopped') => {
      bed.fault = () => undefined
      const { source, ledger } = await bed.start({ how })
      return { source: withObjects(source, untilListed(source)), ledger }
    },
    put: (key, body) => void bed.put(key, body),
    remove: (key) => bed.remove(key),
    stall: (what) => {
      bed.fault = (call, _, o) => (call === (what === 'lists' ? 'list' : 'read') ? hang(o) : undefined)
    },
    deny: () => {
      bed.fault = (call) => {
        if (call === 'list') throw denied()
      }
    },
    content: () => bed.files(),
    later: () => {
      bed.nowMs += 3_600_000
    },
    close: () => bed[Symbol.asyncDispose](),
  }
})
