/**
 * SFTP to S3 beside `rclone copy`, two versions of it, by turns on the same sshd and S3 server. Needs test/real/setup. Alone:
 *
 *     node bench/copy.ts [--quick] [--rounds 3] [--only rclone]
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { fileSize } from '../src/telemetry/figures.ts'
import { debianRclone, newestRclone, type Rclone, rcloneEnvironment } from '../test/real/rclone.ts'
import { descendants } from '../test/real/sshd.ts'
import type { CopyLoad, CopyServed } from './copy-servers.ts'
import { measure, startScript, type Usage } from './measure.ts'

/** One that copies all files of a load to below a prefix. */
interface Program {
  readonly name: string
  readonly env: NodeJS.ProcessEnv
  command(load: CopyLoad, prefix: string): readonly [command: string, ...args: string[]]
}

interface CopyRun extends Usage {
  readonly sshdCpuSeconds: number
  readonly s3CpuSeconds: number
  /** Bytes that the program made the disks write (proc_pid_io(5)). */
  readonly writtenBytes: number
}

const ours = 's3-streamer'
const bin = fileURLToPath(new URL('../bin/s3-streamer', import.meta.url))
const run = promisify(execFile)
const sampleMs = 25
/** Ticks of /proc/<pid>/stat a second: USER_HZ, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

/** Measures and says a table as Markdown, when the last round of a load is over. */
export async function copyTable(o: {
  /** On a disk, or what a program writes is not counted. */
  readonly folder: string
  readonly scale: number
  readonly rounds: number
  /** Only programs whose name has this. */
  readonly only?: string
  readonly say: (row: string) => void
}): Promise<void> {
  const { served, close } = await startScript<CopyServed>('copy-servers.ts', [o.scale])
  try {
    const all = [await debianRclone(), newestRclone()].map((rclone) => rcloneProgram(rclone, served))
    const programs = [...all, ourProgram(o.folder, served)].filter(({ name }) => name.includes(o.only ?? ''))
    o.say(
      '| what | program | s | MB/s | our speed to its | CPU-s | of sshd | of the S3 server | peak RSS | disk writes |',
    )
    o.say('|---|---|---|---|---|---|---|---|---|---|')
    for (const load of served.loads) {
      const runs = new Map(programs.map(({ name }) => [name, [] as CopyRun[]]))
      for (let round = 0; round < o.rounds; round += 1) {
        // Every other round backwards: none always comes after the same one.
        for (const program of round % 2 === 0 ? programs : programs.toReversed()) {
          runs.get(program.name)?.push(await copyOnce(program, served, load))
        }
      }
      const our = runs.get(ours)
      for (const [name, taken] of runs) o.say(row(load, name, taken, our && seconds(taken) / seconds(our)))
    }
  } finally {
    await close()
  }
}

function rcloneProgram({ name, binary }: Rclone, { sftp, s3, bucket }: CopyServed): Program {
  return {
    name,
    env: rcloneEnvironment(sftp, s3),
    command: ({ path }, prefix) => [binary, 'copy', `sftp:${path}`, `s3:${bucket}/${prefix}`],
  }
}

/** All that is not said is its default. */
function ourProgram(folder: string, { sftp, s3, bucket }: CopyServed): Program {
  return {
    name: ours,
    env: { ...process.env, AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey },
    command: ({ path }, prefix) => [
      ...([
        bin,
        'copy',
        `sftp://${sftp.username}@${sftp.host}:${sftp.port}${path}/`,
        `s3://${bucket}/${prefix}/`,
      ] as const),
      ...['--identity', sftp.privateKeyFile, '--known-hosts', sftp.knownHostsFile],
      ...['--endpoint', s3.endpoint, '--region', s3.region],
      ...['--state', join(folder, `${prefix}.json`)],
    ],
  }
}

let prefixes = 0

/** Into a prefix of its own, which is compared with the files and removed. Throws unless all is there, byte for byte. */
async function copyOnce(program: Program, served: CopyServed, load: CopyLoad): Promise<CopyRun> {
  prefixes += 1
  const prefix = `run-${prefixes}`
  const copied = join(served.s3.folder, served.bucket, prefix)
  const [command, ...args] = program.command(load, prefix)
  const sshd = new FamilyCpu(served.sftp.pid)
  const s3 = new FamilyCpu(served.s3.pid)
  const sampling = setInterval(() => {
    sshd.sample()
    s3.sample()
  }, sampleMs)
  const writtenBefore = writtenBytes()
  const usage = await measure(command, args, { env: program.env }).finally(() => clearInterval(sampling))
  const written = writtenBytes() - writtenBefore
  if (usage.code !== 0) throw new Error(`${program.name} ended with ${usage.code}: ${usage.stdout}${usage.stderr}`)
  await run('diff', ['--recursive', '--brief', load.path, copied])
  await rm(copied, { recursive: true })
  return { ...usage, sshdCpuSeconds: sshd.seconds(), s3CpuSeconds: s3.seconds(), writtenBytes: written }
}

/** Of this process and of its children that have ended: what they wrote is counted with their parent's. */
function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}

/**
 * CPU time of a process and of those it started, from now on. Sampled, as sshd does not wait for a session whose connection is
 * cut, and so does not know what it took.
 */
class FamilyCpu {
  readonly #root: number
  readonly #ticks = new Map<number, number>()
  readonly #before: number

  constructor(root: number) {
    this.#root = root
    this.sample()
    this.#before = this.#sum()
  }

  sample(): void {
    for (const pid of [this.#root, ...descendants(this.#root)]) {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        // The name in parentheses may hold spaces. Fields 14 and 15 of proc_pid_stat(5).
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        this.#ticks.set(pid, Number(fields[11]) + Number(fields[12]))
      } catch {
        // It ended in the meantime.
      }
    }
  }

  seconds(): number {
    return (this.#sum() - this.#before) / ticksPerSecond
  }

  #sum(): number {
    return [...this.#ticks.values()].reduce((sum, ticks) => sum + ticks, 0)
  }
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const seconds = (runs: readonly CopyRun[]) => median(runs.map((one) => one.seconds))

function row(load: CopyLoad, name: string, runs: readonly CopyRun[], ourSpeed: number | undefined): string {
  const of = (pick: (one: CopyRun) => number) => median(runs.map(pick))
  const cells = [
    load.title,
    name,
    seconds(runs).toFixed(1),
    (load.bytes / 1e6 / seconds(runs)).toFixed(0),
    ourSpeed === undefined || name === ours ? '' : ourSpeed.toFixed(2),
    of((one) => one.cpuSeconds).toFixed(1),
    of((one) => one.sshdCpuSeconds).toFixed(1),
    of((one) => one.s3CpuSeconds).toFixed(1),
    fileSize(Math.max(...runs.map((one) => one.peakRssBytes))),
    fileSize(Math.max(...runs.map((one) => one.writtenBytes))),
  ]
  return `| ${cells.join(' | ')} |`
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
    },
  })
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-bench-'))
  const { only } = values
  try {
    await copyTable({ folder, scale: values.quick ? 0.1 : 1, rounds: Number(values.rounds), only, say: console.log })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
