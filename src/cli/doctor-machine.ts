/** What `doctor` tells of the machine: program, memory, files, disks, port. */
import { accessSync, constants, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { LoadedConfig } from '../config/pipeline.ts'
import { defaultAddress, hostOf, portOf } from '../console/config.ts'
import { portOwner } from '../console/port-owner.ts'
import type { Finding } from '../core/component.ts'
import { nearestFolder } from '../core/nearest-folder.ts'
import { counted, fileSize } from '../telemetry/figures.ts'
import { version } from '../telemetry/version.ts'

/** Measured at full speed: 205 MiB with 2 workers, up to 286 with the usual 15, 400 with 64; four pipelines of 15: 528. */
const baseBytes = 195 * 2 ** 20
const pipelineBytes = 48 * 2 ** 20
const workerBytes = 3 * 2 ** 20
/** Connections and files of the process itself. */
const baseFiles = 100
const lowDisk = { bytes: 200 * 2 ** 20, part: 0.05 }
const fullDiskBytes = 20 * 2 ** 20
const probeMs = 2000
const edgeDeltaPorts: ReadonlySet<number> = new Set([8080, 8081, 4317])
/** File systems on which the locks of SQLite cannot be relied on. https://www.sqlite.org/faq.html#q5 */
const remote = /^(nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|fuse\.(sshfs|s3fs|glusterfs|rclone|gcsfuse))$/

/** `runningUrl` is where the streamer that runs these pipelines answers, if one does. */
export async function* examineMachine(loaded: LoadedConfig, runningUrl: string | undefined): AsyncGenerator<Finding> {
  yield program()
  yield memory(loaded)
  const files = openFiles(loaded)
  if (files) yield files
  const mounts = readMounts()
  for (const [folder, why] of foldersOf(loaded)) yield* disk(folder, why, mounts)
  yield* port(loaded, runningUrl)
}

function program(): Finding {
  const { node } = process.versions
  const how = process.env.S3_STREAMER_LAUNCHED === '1' ? ', which came with the package' : ''
  return { level: 'ok', text: `s3-streamer ${version} with Node ${node}${how} on ${process.platform} ${process.arch}` }
}

function memory({ pipelines }: LoadedConfig): Finding {
  const cores = availableParallelism()
  const limit = process.constrainedMemory()
  // Without a limit it is 0, or more than there is.
  const isLimited = limit > 0 && limit < totalmem()
  const bytes = isLimited ? limit : totalmem()
  const workers = pipelines.reduce((sum, { source }) => sum + numberOf(source.workers), 0)
  const needed = baseBytes + pipelines.length * pipelineBytes + workers * workerBytes
  const text = `${cores} cores, ${fileSize(bytes)} of memory${isLimited ? ' (limited by the container or service)' : ''}`
  const what = `${counted(pipelines.length, 'pipeline')} with ${workers} workers may take ${fileSize(needed)}`
  if (needed > bytes)
    return { level: 'warning', text: `${text}; ${what}`, advice: 'give it more memory, or set fewer workers' }
  return { level: 'ok', text: `${text}; ${what} at most` }
}

function openFiles({ pipelines }: LoadedConfig): Finding | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(textOf('/proc/self/limits'))?.[1]
  if (soft === undefined || soft === 'unlimited') return undefined
  const connections = pipelines.reduce((sum, { source, sink }) => {
    const endpoints = Array.isArray(sink.endpoints) ? sink.endpoints.length : 1
    return sum + 2 * numberOf(source.workers) + 16 + endpoints * Math.max(numberOf(sink.max_in_flight), 16)
  }, baseFiles)
  const text = `${soft} files and connections may be open, ${connections} may be needed`
  if (Number(soft) >= connections) return { level: 'ok', text }
  return { level: 'problem', text, advice: 'raise the limit: LimitNOFILE= of the service, or ulimit -n' }
}

/** Folder that is written to -> what for. */
function foldersOf({ pipelines, logging }: LoadedConfig): Map<string, string> {
  const folders = new Map<string, string>()
  const add = (file: string, why: string) => {
    const folder = dirname(resolve(file))
    const before = folders.get(folder)
    folders.set(folder, before === undefined ? why : `${before}, ${why}`)
  }
  for (const { name, state } of pipelines) add(state.file_path, `state of ${name}`)
  if (logging.file) add(logging.file.path, 'log')
  return folders
}

function* disk(folder: string, why: string, mounts: readonly Mount[]): Generator<Finding> {
  const there = nearestFolder(folder)
  const missing = there === folder ? '' : ' (it is made at the first start)'
  try {
    accessSync(there, constants.W_OK | constants.X_OK)
  } catch {
    const advice = 'give it to the user that runs this, or name another place'
    yield { level: 'problem', text: `cannot write in ${there}, needed for: ${why}`, advice }
    return
  }
  const { bavail, blocks, bsize } = statfsSync(there)
  const free = bavail * bsize
  const part = blocks === 0 ? 1 : bavail / blocks
  const text = `${folder}${missing} for ${why}: ${fileSize(free)} (${Math.round(part * 100)} %) free`
  const advice = 'make room: when the disk is full the state is not saved, and a crash then costs repeated records'
  if (free < fullDiskBytes) yield { level: 'problem', text, advice }
  else if (free < lowDisk.bytes || (part < lowDisk.part && free < 10 * 2 ** 30))
    yield { level: 'warning', text, advice }
  else yield { level: 'ok', text }
  const mount = mountOf(there, mounts)
  if (mount && remote.test(mount.type)) {
    const risk = `${folder} is on ${mount.type}, whose locks cannot be relied on: two processes could work on one state`
    yield { level: 'warning', text: risk, advice: 'keep the state on a disk of this machine' }
  } else if (mount?.type === 'tmpfs' && why.startsWith('state')) {
    const risk = `${folder} is in memory (tmpfs): a restart of the machine forgets the state`
    yield { level: 'warning', text: risk, advice: 'keep the state on a disk, such as /var/lib/s3-streamer' }
  } else if (mount?.type === 'overlay' && why.startsWith('state')) {
    const risk = `${folder} is inside of the container: the state goes with it`
    yield { level: 'warning', text: risk, advice: 'mount a volume for the state' }
  }
}

export interface Mount {
  readonly path: string
  readonly type: string
}

function readMounts(): Mount[] {
  return mountsIn(textOf('/proc/self/mounts'))
}

/** See fstab(5): blanks in paths are octal escapes. */
export function mountsIn(table: string): Mount[] {
  return table.split('\n').flatMap((line) => {
    const [, path, type] = line.split(' ')
    if (path === undefined || type === undefined) return []
    return [
      {
        path: path.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
        type,
      },
    ]
  })
}

/** The mount that a path is on: the longest that it lies below, and of those the last one. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  let found: Mount | undefined
  for (const mount of mounts) {
    const isBelow = path === mount.path || path.startsWith(mount.path === '/' ? '/' : `${mount.path}/`)
    if (isBelow && mount.path.length >= (found?.path.length ?? 0)) found = mount
  }
  return found
}

/** Whether the port of the console is free, or ours already. */
async function* port({ health }: LoadedConfig, runningUrl: string | undefined): AsyncGenerator<Finding> {
  if (health.enabled === false) return
  const address = health.address ?? defaultAddress
  const number = portOf(address) ?? 0
  const host = hostOf(address) ?? 'localhost'
  const url = `http://${host.includes(':') ? `[${host}]` : host.replace(/^0\.0\.0\.0$/, 'localhost')}:${number}`
  if (edgeDeltaPorts.has(number)) {
    const text = `port ${number}, for health checks and the console, is one that Edge Delta listens on`
    yield { level: 'warning', text, advice: `set health.address: ${defaultAddress}` }
  }
  if (runningUrl !== undefined) {
    yield { level: 'ok', text: `the streamer of this configuration is running, and answers at ${runningUrl}` }
    return
  }
  const answer = await whoAnswers(url)
  if (answer === 'nobody') yield { level: 'ok', text: `${address}, for health checks and the console, is free` }
  else {
    const owner = portOwner(number)
    const name = answer === 'streamer' ? 'another s3-streamer' : owner?.name
    const who = owner ? `${name} (process ${owner.pid})` : (name ?? 'another program')
    const text = `${address} is taken by ${who}`
    const isBound = health.address !== undefined
    const advice = isBound
      ? 'stop that program, or set health.address to a free port'
      : 'another free port will be used; the log says which'
    yield { level: isBound ? 'problem' : 'note', text, advice }
  }
}

async function whoAnswers(url: string): Promise<'nobody' | 'streamer' | 'another'> {
  try {
    const response = await fetch(`${url}/live`, { signal: AbortSignal.timeout(probeMs), redirect: 'manual' })
    const answer: unknown = await response.json()
    const isOurs = typeof answer === 'object' && answer !== null && 'eventLoopDelaySeconds' in answer
    return isOurs ? 'streamer' : 'another'
  } catch (error) {
    const { cause } = error instanceof Error ? error : { cause: undefined }
    const text = cause instanceof AggregateError ? cause.errors.map(String).join(' ') : String(cause)
    return /ECONNREFUSED/.test(`${text} ${cause instanceof Error && 'code' in cause ? String(cause.code) : ''}`)
      ? 'nobody'
      : 'another'
  }
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Only Linux has it.
    return ''
  }
}
