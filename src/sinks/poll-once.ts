import { setImmediate as turn } from 'node:timers/promises'

/** One whole look of the event loop at all sockets: a single turn may already be past them. */
export async function pollOnce(): Promise<void> {
  await turn()
  await turn()
}
