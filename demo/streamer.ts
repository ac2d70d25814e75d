/** The real command as a child process, as an operator starts it, and what it costs by the kernel's account. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../bin/s3-streamer', import.meta.url))
/** What `sysconf(_SC_CLK_TCK)` says on Linux. */
const ticksPerSecond = 100

export class Streamer {
  readonly child: ChildProcess
  /** Resolves with the exit code, or undefined if a signal ended it. */
  readonly ended: Promise<number | undefined>
  output = ''
  peakRssBytes = 0
  cpuSeconds = 0
  readonly #timer: NodeJS.Timeout

  constructor(args: readonly string[]) {
    const env = { ...process.env, AWS_ACCESS_KEY_ID: 'demo', AWS_SECRET_ACCESS_KEY: 'demo', AWS_REGION: 'us-east-1' }
    this.child = spawn(bin, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output = `${this.output}${chunk.toString()}`.slice(-100_000)
      })
    }
    this.#timer = setInterval(() => this.#sample(), 25)
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code) => {
        clearInterval(this.#timer)
        resolve(code ?? undefined)
      })
    })
  }

  /** /proc/<pid>: only on Linux; elsewhere the figures stay 0 and are not shown. */
  #sample(): void {
    try {
      const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
      const status = readFileSync(`/proc/${this.child.pid}/status`, 'latin1')
      this.cpuSeconds = Math.max(this.cpuSeconds, (Number(stat[11]) + Number(stat[12])) / ticksPerSecond || 0)
      this.peakRssBytes = Math.max(this.peakRssBytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024)
    } catch {
      // Gone already, or no Linux.
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}
