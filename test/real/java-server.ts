/** Servers in Java on a folder of their own, which can be killed and started again on the same port and data. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startProcess, stopProcess } from './process.ts'

/** A JVM on a busy machine takes its time. */
const readyWithinMs = 90_000

/** The folder with the jars that test/real/setup downloaded. Throws if they are not there. */
export function librariesOf(name: string): string {
  const cache = process.env.S3_STREAMER_TEST_CACHE ?? fileURLToPath(new URL('.cache', import.meta.url))
  const folder = join(cache, name, 'lib')
  if (!existsSync(folder)) throw new Error(`cannot find ${name} in ${cache}: run test/real/setup`)
  return folder
}

function classPath(name: string, besides: RegExp | undefined): string {
  const folder = librariesOf(name)
  if (!besides) return join(folder, '*')
  const jars = readdirSync(folder).filter((jar) => !besides.test(jar))
  return jars.map((jar) => join(folder, jar)).join(':')
}

/** A program of test/real/java, which `java` compiles as it starts it. */
export const javaSource = (name: string): string => fileURLToPath(new URL(`java/${name}.java`, import.meta.url))

export interface JavaCommand {
  /** Its cache folder's name. */
  readonly name: string
  /** Largest heap. */
  readonly heap: `${number}m`
  /** What follows the class path: options, the main class or source file, its arguments. */
  args(folder: string): readonly string[]
  /** Jars that are not on the class path. */
  readonly besides?: RegExp
  /** Throws as long as it does not answer. */
  ready(): Promise<void>
  /** Fills the folder, before the first start. */
  prepare(folder: string): Promise<void>
}

export class JavaServer implements AsyncDisposable {
  readonly folder: string
  readonly #command: JavaCommand
  #child: ChildProcess | undefined

  private constructor(folder: string, command: JavaCommand) {
    this.folder = folder
    this.#command = command
  }

  /** Resolves when it answers. */
  static async start(command: JavaCommand): Promise<JavaServer> {
    librariesOf(command.name)
    const server = new JavaServer(await mkdtemp(join(tmpdir(), `s3-streamer-${command.name}-`)), command)
    try {
      await command.prepare(server.folder)
      await server.restart()
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.#command.name} does not run`)
    return this.#child.pid
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child) await stopProcess(this.#child, 'SIGKILL')
    this.#child = undefined
  }

  /** Starts it again on the port and data it had; ends it first if it runs. */
  async restart(): Promise<void> {
    if (this.#child) await stopProcess(this.#child, 'SIGTERM')
    const { name, heap, besides, args, ready } = this.#command
    const options = [`-Xmx${heap}`, '-XX:TieredStopAtLevel=1', '-cp', classPath(name, besides)]
    this.#child = await startProcess('java', [...options, ...args(this.folder)], ready, {}, readyWithinMs)
  }

  /** Ends the server and removes its folder. */
  async stop(): Promise<void> {
    if (this.#child) await stopProcess(this.#child, 'SIGTERM')
    this.#child = undefined
    await rm(this.folder, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
