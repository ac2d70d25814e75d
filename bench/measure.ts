/** Runs a command and says what it took; starts and asks the servers of servers.ts. Linux only: it reads /proc. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Served, Stats } from './servers.ts'

export interface Usage {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly seconds: number
  /** User and system time of the command and of what it started. */
  readonly cpuSeconds: number
  /** VmHWM of the command and of what it started, summed. */
  readonly peakRssBytes: number
  readonly stdout: string
  readonly stderr: string
}

export interface Figures {
  readonly cpuSecondsPerGb: number
  /** 10^6 bytes a second. */
  readonly mbPerSecond: number
}

export interface MeasureOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly signal?: AbortSignal
  /** Asked now and then; true ends the command with SIGTERM. */
  readonly until?: (soFar: { readonly seconds: number; readonly peakRssBytes: number }) => boolean | Promise<boolean>
  readonly sampleMs?: number
}

/** One command at a time: its CPU time is what this process's reaped children gained. */
export async function measure(command: string, args: readonly string[], o: MeasureOptions = {}): Promise<Usage> {
  const cpuBefore = reapedCpuSeconds()
  const started = performance.now()
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: o.env ?? process.env,
    ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
    ...(o.signal === undefined ? {} : { signal: o.signal }),
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    output.stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString()
  })
  const peaks = new Map<number, number>()
  const peak = () => [...peaks.values()].reduce((sum, bytes) => sum + bytes, 0)
  let asking = false
  let stopped = false
  const sample = async () => {
    for (const pid of family(child)) peaks.set(pid, Math.max(peaks.get(pid) ?? 0, peakRssBytes(pid)))
    // A second signal would be taken as impatience.
    if (!o.until || asking || stopped) return
    asking = true
    const enough = await o.until({ seconds: (performance.now() - started) / 1000, peakRssBytes: peak() })
    asking = false
    if (!enough) return
    stopped = true
    child.kill('SIGTERM')
  }
  const timer = setInterval(() => {
    sample().catch((error: unknown) => {
      output.stderr += `cannot sample: ${error}\n`
      child.kill('SIGKILL')
    })
  }, o.sampleMs ?? 25)
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    const seconds = (performance.now() - started) / 1000
    return { code, signal, seconds, cpuSeconds: reapedCpuSeconds() - cpuBefore, peakRssBytes: peak(), ...output }
  } finally {
    clearInterval(timer)
  }
}

export function figures(usage: { readonly seconds: number; readonly cpuSeconds: number }, bytes: number): Figures {
  return { cpuSecondsPerGb: usage.cpuSeconds / (bytes / 1e9), mbPerSecond: bytes / 1e6 / usage.seconds }
}

/** A script that says in its first line where it serves, and serves until `close`. */
export async function startScript<T>(
  name: string,
  args: readonly (string | number)[],
): Promise<{ readonly served: T; close(): Promise<void> }> {
  const script = fileURLToPath(new URL(name, import.meta.url))
  const child = spawn(process.execPath, [script, ...args.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const line = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([text]) => text as string),
    closed.then(() => undefined),
  ])
  if (line === undefined)
    throw new Error(`cannot start bench/${name} ${args.join(' ')}: it ended with ${child.exitCode}`)
  return {
    served: JSON.parse(line) as T,
    close: async () => {
      child.stdin.end()
      await closed
    },
  }
}

/** The servers of a scenario, running; `stats` also sets all counters to 0. */
export async function startServers(
  scenario: string,
  amount?: number,
): Promise<{ readonly served: Served; stats(): Promise<Stats>; close(): Promise<void> }> {
  const args = amount === undefined ? [scenario] : [scenario, amount]
  const { served, close } = await startScript<Served>('servers.ts', args)
  return {
    served,
    stats: async () => (await (await fetch(served.stats, { method: 'POST' })).json()) as Stats,
    close,
  }
}

/** The process and its descendants that are alive. */
function family(child: ChildProcess): number[] {
  const found: number[] = []
  const todo = child.pid === undefined ? [] : [child.pid]
  for (let pid = todo.pop(); pid !== undefined; pid = todo.pop()) {
    found.push(pid)
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const below = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
        if (below !== '') todo.push(...below.split(' ').map(Number))
      }
    } catch {
      // It ended in the meantime.
    }
  }
  return found
}

function peakRssBytes(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

/** Ticks of /proc/<pid>/stat a second: USER_HZ, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

/** CPU time of children of this process that have ended, with that of their own (proc_pid_stat(5), fields 16 and 17). */
function reapedCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  // The name in parentheses may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond
}
