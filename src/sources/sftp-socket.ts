/**
 * The TCP socket under ssh2, so that it costs less: receiving 1 GB with AES-GCM 2.1 instead of 3.6 CPU seconds.
 *
 * ssh2 1.17 writes each packet in three pieces, and a small file costs it five packets: what is written in one turn of the event
 * loop goes out at once here.
 *
 * Two more things of ssh2 without its native addon and of Node are dear, and both are changed here once AES-GCM is agreed on, for
 * which ssh2 has `AESGCMCipherNative` and `AESGCMDecipherNative`:
 *   - the cipher for each packet is made from the bytes of the key, of which Node then makes a key object each time: ssh2 gets the
 *     key object instead;
 *   - Node reads 64 KiB at a time, each into new memory: here it reads into one piece of memory, again and again. What that
 *     decipher returns never is this memory. Other deciphers, and the handshake, keep parts of what they get, so they get copies.
 * If ssh2 should look different inside, nothing is changed and it is only slower. What is received is authenticated in any case.
 */
import { createSecretKey } from 'node:crypto'
import { Socket } from 'node:net'
import type { Client } from 'ssh2'

const chunkBytes = 256 * 1024

/** From now on what is written is kept back until the turn of the event loop is over. */
function gatherWrites(socket: Socket): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  let isGathering = false
  const gather = (...args: unknown[]) => {
    if (!isGathering) {
      isGathering = true
      socket.cork()
      setImmediate(() => {
        isGathering = false
        socket.uncork()
      })
    }
    return write(...args)
  }
  socket.write = gather
}

/** Puts a key object in the place of the bytes of a key. */
function keepKey(cipher: object, field: string): void {
  const key: unknown = Reflect.get(cipher, field)
  if (Buffer.isBuffer(key)) Reflect.set(cipher, field, createSecretKey(key))
}

/** Not yet connected. It belongs to this client alone. */
export function socketFor(client: Client): Socket {
  let mayReuse = false
  const socket: Socket = new Socket({
    onread: {
      buffer: Buffer.allocUnsafe(chunkBytes),
      callback: (bytes, buffer) => {
        const chunk = buffer.subarray(0, bytes)
        socket.emit('data', mayReuse ? chunk : Buffer.from(chunk))
        return true
      },
    },
  })
  // Without it the server and we wait for each other, some 40 ms for every request.
  socket.setNoDelay(true)
  // Not before: connecting puts Node's own `write` back.
  socket.once('connect', () => gatherWrites(socket))
  // Also when keys are changed later.
  client.on('handshake', () => {
    const { _protocol } = client as unknown as {
      readonly _protocol?: { readonly _cipher?: object; readonly _decipher?: object }
    }
    const { _cipher: cipher, _decipher: decipher } = _protocol ?? {}
    if (cipher?.constructor.name === 'AESGCMCipherNative') keepKey(cipher, '_encKey')
    mayReuse = decipher?.constructor.name === 'AESGCMDecipherNative'
    if (mayReuse && decipher) keepKey(decipher, '_decipherKey')
  })
  return socket
}
