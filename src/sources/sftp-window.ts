import type { Client, SFTPWrapper } from 'ssh2'

/**
 * How much the server may send before it hears that we took it. ssh2 1.17 allows 2 MiB, less than a long line holds: with 40 ms
 * there and back that made 25 MB/s of one connection. What comes goes straight into the buffers of the readers, and no more
 * comes than they asked for, so a larger window takes no memory.
 */
const windowBytes = 16 * 1024 * 1024

/** What ssh2 keeps of the channel below the SFTP session. */
interface Channel {
  readonly incoming?: { window?: unknown }
  readonly outgoing?: { readonly id?: unknown }
}

/**
 * Gives a function to be called now and then while data comes, which opens the window again (RFC 4254 5.2). If ssh2 should look
 * different inside, it does nothing, and ssh2 keeps to its own window.
 */
export function windowOpener(client: Client, sftp: SFTPWrapper): () => void {
  const { incoming, outgoing } = sftp as unknown as Channel
  const { _protocol: protocol } = client as unknown as {
    readonly _protocol?: { channelWindowAdjust?(channel: number, bytes: number): void }
  }
  const id = outgoing?.id
  if (!incoming || typeof incoming.window !== 'number' || typeof id !== 'number' || !protocol?.channelWindowAdjust) {
    return () => {}
  }
  return () => {
    if (typeof incoming.window !== 'number' || incoming.window > windowBytes / 2) return
    const more = windowBytes - incoming.window
    incoming.window = windowBytes
    protocol.channelWindowAdjust?.(id, more)
  }
}
