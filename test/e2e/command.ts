/** The real command as a child process, and the folder with its configuration. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const bin = fileURLToPath(new URL('../../bin/s3-streamer', import.meta.url))

export interface Ended {
  /** Exit code; undefined if a signal ended it. */
  readonly code: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export class Command {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''
  hasEnded = false

  /** `command` is what an operator types before the arguments; the command itself if left out. */
  constructor(
    args: readonly string[],
    o: { readonly command?: readonly string[]; readonly env?: NodeJS.ProcessEnv } = {},
  ) {
    const [file, ...first] = o.command ?? [bin]
    const env = {
      ...process.env,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_REGION: 'us-east-1',
      ...o.env,
    }
    this.child = spawn(file as string, [...first, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.ended = once(this.child, 'close').then(([code]: Array<number | null>) => {
      this.hasEnded = true
      return { code: code ?? undefined, stdout: this.stdout, stderr: this.stderr }
    })
  }

  get output(): string {
    return `${this.stdout}${this.stderr}`
  }

  async kill(signal: NodeJS.Signals): Promise<Ended> {
    if (!this.hasEnded) this.child.kill(signal)
    return this.ended
  }

  /** Resolves when it is so; fails with the command's own words if it ends before, or after 20 s. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    for (const end = Date.now() + 20_000; !isSo(); ) {
      if (this.hasEnded || Date.now() > end)
        throw new Error(`waiting for ${what} in vain:\n${this.output.slice(-3000)}`)
      await sleep(10)
    }
  }
}

/** A folder with a configuration as for the former streamer, and its state. */
export class Installation {
  readonly folder = mkdtempSync(join(tmpdir(), 's3-streamer-e2e-'))
  readonly config = join(this.folder, 'config.yaml')
  readonly state = join(this.folder, 'state.json')

  constructor(o: {
    readonly endpoint: string
    readonly inputs: readonly string[]
    readonly more?: string
    readonly http?: string
    readonly prefix?: string
    readonly bucket?: string
    readonly processing?: string
  }) {
    writeFileSync(
      this.config,
      `s3:
  bucket: ${o.bucket ?? 'logs'}
  prefix: "${o.prefix ?? '/_weblog/feedname=Threat Team - Web/'}"
  region: us-east-1
  endpoint: ${o.endpoint}
http:
  endpoints:
${o.inputs.map((url) => `    - ${url}`).join('\n')}
  batch_lines: 1000
  batch_bytes: 1048576
  flush_interval: 100ms
  workers: 10
${o.http ?? ''}
processing:
  worker_count: 15
  scan_interval: 200ms
  delay_window: 1s
${o.processing ?? ''}
state:
  file_path: ${this.state}
  save_interval: 200ms
logging:
  level: debug
  format: json
${o.more ?? ''}
`,
    )
  }

  start(args: readonly string[] = [], o?: ConstructorParameters<typeof Command>[1]): Command {
    return new Command([...args, '--config', this.config], o)
  }

  run(...args: string[]): Promise<Ended> {
    return this.start(args).ended
  }

  readState(): Record<string, unknown> {
    return JSON.parse(readFileSync(this.state, 'utf8')) as Record<string, unknown>
  }

  get hasState(): boolean {
    return existsSync(this.state)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
