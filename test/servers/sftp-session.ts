/** One SFTP session of the test server: requests come in, answers, or what a fault makes of them, go out. */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerChannel } from 'ssh2'
import type { SftpFault } from './sftp-faults.ts'
import { type SftpHost, SftpRequests, type Task } from './sftp-requests.ts'
import { SftpRefusal } from './sftp-tree.ts'
import { MalformedPacket, PacketCutter, sftpStatus, statusAnswer } from './sftp-wire.ts'

export function serveSftp(channel: ServerChannel, socket: Socket, host: SftpHost): void {
  new Session(channel, socket, host).start()
}

/** Resets a connection. Node 24 would leak a socket for ever that is reset while its end is under way. */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

class Session {
  readonly #channel: ServerChannel
  readonly #socket: Socket
  readonly #requests: SftpRequests
  readonly #cutter = new PacketCutter()
  #ended = false
  #paused = false

  constructor(channel: ServerChannel, socket: Socket, host: SftpHost) {
    this.#channel = channel
    this.#socket = socket
    this.#requests = new SftpRequests(host)
    host.counters.sessions += 1
  }

  start(): void {
    // A client that leaves in the midst of an answer is no concern of the server.
    this.#channel.on('error', () => this.#end())
    this.#channel.on('close', () => this.#end())
    // A channel that is paused never learns that its connection is gone.
    this.#socket.once('close', () => this.#end())
    this.#channel.on('end', () => this.#hangUp())
    this.#channel.on('data', (chunk: Buffer) => {
      try {
        for (const packet of this.#cutter.push(chunk)) this.#serve(this.#requests.task(packet))
      } catch (error) {
        if (!(error instanceof MalformedPacket)) throw error
        this.#hangUp()
      }
    })
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#requests.end()
  }

  #hangUp(): void {
    this.#end()
    this.#channel.destroy()
  }

  #serve(task: Task): void {
    if (this.#ended) return
    if (task.fault === undefined && task.waitMs === 0) {
      this.#send(attempt(task, undefined))
      return
    }
    this.#serveLate(task).catch((error: unknown) => this.#send([broken(task, error)]))
  }

  async #serveLate(task: Task): Promise<void> {
    if (task.waitMs > 0) await sleep(task.waitMs, undefined, { ref: false })
    let fault = await task.fault
    while (fault && 'delayMs' in fault) {
      await sleep(fault.delayMs, undefined, { ref: false })
      fault = fault.next
    }
    if (this.#ended || (fault && 'stall' in fault)) return
    if (fault && 'cut' in fault) resetSocket(this.#socket)
    else if (fault && 'status' in fault) this.#send([statusAnswer(task.id, fault.status, fault.message)])
    else this.#answer(attempt(task, fault), fault)
  }

  #answer(answer: readonly Buffer[], fault: SftpFault | undefined): void {
    if (fault && 'cutAfter' in fault) {
      this.#end()
      // The end, not a reset, which would throw away what the client has not read yet: the place of the break is known.
      this.#channel.write(Buffer.concat(answer).subarray(0, fault.cutAfter), () => this.#socket.destroySoon())
    } else this.#send(fault && 'raw' in fault ? [fault.raw] : answer)
  }

  #send(answer: readonly Buffer[]): void {
    if (this.#ended) return
    let room = true
    for (const bytes of answer) room = this.#channel.write(bytes)
    if (room || this.#paused) return
    this.#paused = true
    this.#channel.pause()
    this.#channel.once('drain', () => {
      this.#paused = false
      this.#channel.resume()
    })
  }
}

function attempt(task: Task, fault: SftpFault | undefined): readonly Buffer[] {
  try {
    return task.work(fault)
  } catch (error) {
    return [error instanceof SftpRefusal ? statusAnswer(task.id, error.status) : broken(task, error)]
  }
}

/** This server, a hook or the function of a file throws: that must be seen. */
function broken({ id }: Task, error: unknown): Buffer {
  return statusAnswer(id, sftpStatus.failure, `test server: ${String(error)}`)
}
