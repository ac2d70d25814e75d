/** For the tests of the commands: servers in this process, a folder, and the command line with its output caught. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExitCode, Io } from '../../src/cli/io.ts'
import { program } from '../../src/cli/program.ts'
import { type HttpInput, startHttpInput } from './http-input.ts'
import { type S3Server, startS3 } from './s3.ts'

export interface Answer {
  readonly code: ExitCode
  readonly out: string
  readonly err: string
}

export interface Testbed extends AsyncDisposable {
  readonly folder: string
  readonly config: string
  readonly s3: S3Server
  readonly input: HttpInput
  /** Writes config.yaml anew, in the seed's form, with `more` at its end. */
  write(more?: string): void
  /** Runs a command line; `--config` is added. */
  run(argv: readonly string[], io?: Partial<Io>): Promise<Answer>
}

/** Runs a command line with its output caught. */
export async function runProgram(argv: readonly string[], given: Partial<Io> = {}): Promise<Answer> {
  let out = ''
  let err = ''
  const never = new AbortController().signal
  const code = await program(argv, {
    stdout: (text) => {
      out += text.toString()
    },
    stderr: (text) => {
      err += text
    },
    env: {},
    terminal: false,
    color: { stdout: false, stderr: false },
    ask: undefined,
    unread: never,
    onHangup: () => ({ [Symbol.dispose]: () => undefined }),
    soft: never,
    hard: never,
    ...given,
  })
  return { code, out, err }
}

export async function startTestbed(): Promise<Testbed> {
  // The SDK reads its credentials from the environment of the process.
  process.env.AWS_ACCESS_KEY_ID = 'test'
  process.env.AWS_SECRET_ACCESS_KEY = 'test'
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-cli-'))
  const s3 = await startS3()
  const input = await startHttpInput()
  const config = join(folder, 'config.yaml')
  const write = (more = '') =>
    writeFileSync(
      config,
      `s3: { bucket: logs, prefix: web/, region: us-east-1, endpoint: "${s3.endpoint}", force_path_style: true }
http: { endpoints: ["${input.url}"], flush_interval: 50ms, headers: { X-Api-Key: hunter2 } }
processing: { scan_interval: 1s, delay_window: 1s }
state: { file_path: "${join(folder, 'state.json')}" }
${more}`,
    )
  write()
  return {
    folder,
    config,
    s3,
    input,
    write,
    run: (argv, io) => runProgram([...argv, '--config', config], io),
    async [Symbol.asyncDispose]() {
      await Promise.all([s3.close(), input.close()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
