import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Snapshot } from '../../src/console/snapshot.ts'
import { runProgram } from '../servers/testbed.ts'

/** A streamer in this process that moves lines of files from folders to files, and what it says. */
export class StreamerBed implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 's3-streamer-reload-'))
  readonly config = join(this.folder, 'config.yaml')
  readonly #soft = new AbortController()
  #hangup: () => void = () => undefined
  #ended: ReturnType<typeof runProgram> | undefined
  output = ''

  /** `pipelines`: name -> what its YAML has besides. */
  write(pipelines: Readonly<Record<string, string>>, more = ''): void {
    const texts = Object.entries(pipelines).map(([name, own]) => {
      mkdirSync(join(this.folder, name), { recursive: true })
      return `  - name: ${name}
    source: { type: directory, path: "${join(this.folder, name)}", poll_interval: 50ms }
    sink: { type: file, path: "${join(this.folder, `${name}.out`)}", batch: { linger: 10ms } }
    state: { file_path: "${join(this.folder, `${name}.json`)}" }
${own}`
    })
    writeFileSync(this.config, `pipelines:\n${texts.join('')}logging: { format: text }\n${more}`)
  }

  /** `hangups`: so many at the first moment at which one is heard. */
  start({ hangups = 0 }: { readonly hangups?: number } = {}): void {
    this.#ended = runProgram(['--config', this.config], {
      soft: this.#soft.signal,
      stdout: (text) => {
        this.output += text.toString()
      },
      onHangup: (listener) => {
        this.#hangup = listener
        for (let n = 0; n < hangups; n += 1) queueMicrotask(listener)
        return { [Symbol.dispose]: () => undefined }
      },
    })
  }

  put(pipeline: string, file: string, text: string): void {
    writeFileSync(join(this.folder, pipeline, file), text)
  }

  sent(pipeline: string): string[] {
    const path = join(this.folder, `${pipeline}.out`)
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []
  }

  get address(): string {
    return / at (http:\/\/\S+)\/?/.exec(this.output)?.[1]?.replace(/\/$/, '') ?? ''
  }

  async status(): Promise<Snapshot> {
    return (await (await fetch(`${this.address}/api/status`)).json()) as Snapshot
  }

  async until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (let i = 0; !(await isSo()); i += 1) {
      if (i > 1000) assert.fail(`${what} did not happen:\n${this.output.replaceAll(/.* poll: .*\n/g, '')}`)
      await sleep(20)
    }
  }

  /** As a changed file of that text; `from` must be in it. */
  edit(from: string, to: string): void {
    const text = readFileSync(this.config, 'utf8')
    assert.ok(text.includes(from), `${from} is not in the file`)
    writeFileSync(this.config, text.replaceAll(from, to))
  }

  hangup(): void {
    this.#hangup()
  }

  /** As SIGTERM does; does not wait. */
  terminate(): void {
    this.#soft.abort(new Error('SIGTERM'))
  }

  /** What it ends with. */
  async ended(): Promise<number> {
    return (await this.#ended)?.code ?? -1
  }

  /** Reads the file again, and waits for what became of it. */
  async reload(): Promise<string> {
    const before = this.output.length
    this.hangup()
    await this.until(() => /configuration read again: .*\n/.test(this.output.slice(before)), 'the reload')
    return this.output.slice(before)
  }

  async stop(): Promise<number> {
    this.terminate()
    return await this.ended()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
