/** An SFTP server in this process with a store of ours that reads it. */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { type SftpConfig, sftpFields } from '../../src/sources/sftp-config.ts'
import { createSftpStore, type SftpStore } from '../../src/sources/sftp-store.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { type SftpOptions, type SftpServer, startSftp } from './sftp.ts'

export interface LogLine {
  readonly level: string
  readonly facts: Record<string, unknown>
  readonly message: string
}

/** The configuration of a store for the server, as it would stand in a file. */
export function sftpConfig(
  server: SftpServer,
  more: Partial<z.input<z.ZodObject<typeof sftpFields>>> = {},
): SftpConfig {
  const { host, port, user, password, fingerprint } = server
  return z
    .strictObject(sftpFields)
    .parse({ host, port, username: user, password, host_key_fingerprint: fingerprint, ...more })
}

export class SftpBed implements AsyncDisposable {
  readonly server: SftpServer
  readonly lines: LogLine[] = []
  readonly meter = new MemoryMeter()
  readonly #stores: SftpStore[] = []
  readonly #stop = new AbortController()

  private constructor(server: SftpServer) {
    this.server = server
  }

  static async start(o: SftpOptions = {}): Promise<SftpBed> {
    return new SftpBed(await startSftp(o))
  }

  /** For calls that nothing is to interrupt; ends those that still run when the bed is taken down. */
  get o(): { readonly signal: AbortSignal } {
    return { signal: this.#stop.signal }
  }

  store(more: Partial<z.input<z.ZodObject<typeof sftpFields>>> = {}): SftpStore {
    return this.storeOf(sftpConfig(this.server, more))
  }

  storeOf(config: SftpConfig): SftpStore {
    const log = (level: string) => (facts: object, message: string) =>
      void this.lines.push({ level, facts: { ...facts }, message })
    const store = createSftpStore(config, {
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      meter: this.meter,
    })
    this.#stores.push(store)
    return store
  }

  logged(text: string): readonly LogLine[] {
    return this.lines.filter(({ message }) => message.includes(text))
  }

  /** Waits for what the server sees a little later than we do. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await sleep(2, undefined, this.o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    for (const store of this.#stores) await store[Symbol.asyncDispose]()
    await this.server.close()
  }
}
