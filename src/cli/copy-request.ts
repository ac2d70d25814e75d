/** What `copy` is asked for, by its arguments or by the environment, as the configuration of one pipeline. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { inputSchema, type Path } from '../config/json-schema.ts'
import { fileSchema, type PipelineConfig } from '../config/pipeline.ts'
import { findings } from '../config/problems.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { registry } from '../registry.ts'
import { copyJob, type PushgatewayConfig } from '../telemetry/pushgateway-config.ts'

export interface CopyFlags {
  readonly identity?: string
  readonly knownHosts?: string
  readonly hostKey?: readonly string[]
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly recursive: boolean
  readonly partSize?: string
  readonly readConcurrency?: number
  readonly uploadConcurrency?: number
  readonly files?: number
  readonly sessions?: number
  readonly verify?: string
  readonly checksum?: string
  readonly ifExists?: string
  readonly storageClass?: string
  readonly endpoint?: string
  readonly region?: string
  readonly sourceEndpoint?: string
  readonly sourceRegion?: string
  readonly after?: string
  readonly moveTo?: string
  readonly pushgateway?: string
  readonly state?: string
}

export interface CopyRequest {
  readonly config: PipelineConfig
  readonly pushgateway: PushgatewayConfig | undefined
  /** Set if a single object is meant: the key of one in a bucket, or the name of a file, which has to be no folder. */
  readonly only: { readonly key: string } | { readonly file: string } | undefined
}

/** What the source is told to read, and where its object goes if it names a single one. */
interface SourcePart {
  readonly config: Readonly<Record<string, unknown>>
  /** Key of the one object of a bucket that is meant. */
  readonly key?: string
  /** A folder, or a glob: the destination must be a folder too. */
  readonly isMany: boolean
  /** For the name of the state: no secrets. */
  readonly place: string
}

type Env = Readonly<Record<string, string | undefined>>

/** The environment with what `.env` in this folder adds to it. Throws config.invalid. */
export function withDotEnv(env: Env, file = '.env'): Env {
  if (!existsSync(file)) return env
  try {
    return { ...parseEnv(readFileSync(file, 'utf8')), ...env }
  } catch (error) {
    throw new StreamError('config.invalid', `cannot read ${resolve(file)}: ${explainError(error)}`, { cause: error })
  }
}

/** Throws config.invalid, with every problem on a line of its own. */
export function copyRequest(
  source: string | undefined,
  destination: string | undefined,
  flags: CopyFlags,
  env: Env,
): CopyRequest {
  if ((source === undefined) !== (destination === undefined))
    throw invalid(`say from where and to where: s3-streamer copy ${source ?? 'SOURCE'} s3://bucket/folder/`)
  const from = source === undefined ? seedSource(flags, env) : sourcePart(source, flags, env)
  const to = destination === undefined ? seedTarget(env) : targetOf(destination, from)
  const isOneName = destination !== undefined && !to.key.endsWith('{path}')
  const endpoint = flags.endpoint ?? env.S3_ENDPOINT_URL
  const sink = {
    type: 's3',
    ...to,
    ...given({
      endpoint,
      region: flags.region,
      part_size: flags.partSize,
      read_concurrency: flags.readConcurrency,
      upload_concurrency: flags.uploadConcurrency,
      verify: flags.verify,
      checksum: flags.checksum,
      if_exists: flags.ifExists,
      storage_class: flags.storageClass,
    }),
  }
  if (flags.ifExists === 'skip' && (from.config.after ?? 'none') !== 'none')
    throw invalid(
      '--if-exists skip leaves files uncopied, and --after would remove them all the same: leave one of them out',
    )
  const gateway = flags.pushgateway ?? (source === undefined ? env.PUSH_GATEWAY : undefined)
  const state = flags.state ?? statePath(JSON.stringify([from.place, flags.include, flags.exclude, to]), env)
  const parsed = parse({
    pipelines: [{ name: 'copy', source: from.config, sink, state: { file_path: state, save_interval: '3s' } }],
    ...(gateway === undefined || gateway === '' ? {} : { pushgateway: { endpoint: gateway, job: copyJob } }),
  })
  const file = isOneName ? { file: basename(from.place) } : undefined
  return { ...parsed, only: from.key === undefined ? file : { key: from.key } }
}

function parse(value: Readonly<Record<string, unknown>>): Pick<CopyRequest, 'config' | 'pushgateway'> {
  const schema = fileSchema(registry)
  const parsed = schema.safeParse(value)
  if (!parsed.success) {
    const problems = findings(parsed.error, value, inputSchema(schema))
    throw invalid([...new Set(problems.map(({ path, message }) => `${flagOf(path)} ${message}`))].join('\n'))
  }
  const pipeline = parsed.data.pipelines[0]
  if (!pipeline) throw invalid('there is nothing to copy')
  const config = { ...pipeline, formats: [], state: { ...pipeline.state, file_path: String(pipeline.state.file_path) } }
  return { config: config as unknown as PipelineConfig, pushgateway: parsed.data.pushgateway }
}

/** The flag that a key of the configuration comes from. */
function flagOf(path: Path): string {
  const key = String(path[3] ?? path[1] ?? path[0])
  const flag = keyFlags[key] ?? `--${key.replaceAll('_', '-')}`
  return `error: ${flag}`
}

const keyFlags: Record<string, string> = {
  path: 'SOURCE',
  host: 'SOURCE',
  username: 'SOURCE',
  bucket: 'DEST',
  key: 'DEST',
  private_key_file: '--identity',
  known_hosts_file: '--known-hosts',
  host_key_fingerprint: '--host-key',
  workers: '--files',
}

const sourceForms = 'sftp://user@host/path, s3://bucket/folder/, or a local path'

function sourcePart(text: string, flags: CopyFlags, env: Env): SourcePart {
  const [, scheme, rest] = /^([a-z][a-z\d+.-]*):\/\/(.*)$/is.exec(text) ?? []
  if (scheme === 'sftp') return sftpPart(sftpAddress(text), flags, env)
  if (scheme === 's3') return s3Part(rest ?? '', flags, env)
  if (scheme !== undefined && scheme !== 'file')
    throw invalid(
      `cannot copy from ${scheme}://: SOURCE is ${sourceForms}; for queues and daemons write a configuration`,
    )
  if (text === '') throw invalid(`SOURCE is empty: it is ${sourceForms}`)
  const path = resolve(scheme === 'file' ? (rest ?? '') : text)
  const isMany = text.endsWith('/') || (hasGlob(path) && !existsSync(path))
  return { config: { type: 'directory', path, ...fileKeys(flags) }, isMany, place: path }
}

function hasGlob(path: string): boolean {
  return /[*?[{]/.test(path)
}

interface SftpAddress {
  readonly host: string
  readonly port: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  readonly path: string
}

/** The path is taken as it is, as scp does: `%20` in it is no space. */
function sftpAddress(text: string): SftpAddress {
  const [, login, host, port, path = ''] =
    /^sftp:\/\/(?:(.*)@)?(\[[^\]]*\]|[^/:@]*)(?::(\d+))?(\/.*)?$/is.exec(text) ?? []
  if (host === undefined || host === '') throw invalid(`SOURCE has no host: write it like sftp://user@host/path`)
  const colon = login?.indexOf(':') ?? -1
  const part = (value: string | undefined) => (value === undefined || value === '' ? undefined : decode(value))
  return {
    host: host.replace(/^\[(.*)\]$/, '$1'),
    port,
    username: part(colon < 0 ? login : login?.slice(0, colon)),
    password: part(colon < 0 ? undefined : login?.slice(colon + 1)),
    // As in other programs: /~/ is the folder of the user.
    path: path.startsWith('/~/') ? path.slice(3) || '.' : path || '.',
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Keys that ssh takes by itself, in its order. */
const usualKeys = ['id_ed25519', 'id_ecdsa', 'id_rsa']

function sftpPart(address: SftpAddress, flags: CopyFlags, env: Env): SourcePart {
  const home = env.HOME ?? homedir()
  const { host, path } = address
  const port = Number(address.port ?? 22)
  const username = address.username ?? env.SFTP_USER ?? userInfo().username
  const password = address.password ?? env.SFTP_PASSWORD
  const identity = flags.identity ?? env.SFTP_KEY_FILE
  const usual = usualKeys.map((name) => join(home, '.ssh', name)).find((file) => existsSync(file))
  if (password === undefined && identity === undefined && usual === undefined && !env.SSH_AUTH_SOCK)
    throw invalid(
      `there is nothing to log in with at ${host}: give -i KEYFILE, set SFTP_PASSWORD, or start an SSH agent`,
    )
  const hostKey = flags.hostKey ?? env.SFTP_HOST_KEY
  const knownHosts = flags.knownHosts ?? env.SFTP_KNOWN_HOSTS ?? join(home, '.ssh', 'known_hosts')
  const config = {
    type: 'sftp',
    ...{ host, port, username, path },
    ...given({
      password,
      // A password that was given is meant; else what ssh would try.
      private_key_file: identity ?? (password === undefined ? usual : undefined),
      passphrase: env.SFTP_KEY_PASSPHRASE,
      agent: password === undefined && env.SSH_AUTH_SOCK ? true : undefined,
      host_key_fingerprint: hostKey,
      // The key that was named, and no other.
      known_hosts_file: hostKey === undefined ? knownHosts : undefined,
      sessions: flags.sessions,
    }),
    ...fileKeys(flags),
  }
  const isMany = path.endsWith('/') || hasGlob(path)
  return { config, isMany, place: `sftp://${username}@${host}:${port}${path}` }
}

function fileKeys(flags: CopyFlags): Record<string, unknown> {
  const { include, exclude, recursive, files, after, moveTo } = flags
  return {
    recursive,
    ...given({ include, exclude, workers: files, move_to: moveTo }),
    after: after ?? (moveTo === undefined ? 'none' : 'move'),
  }
}

function s3Part(rest: string, flags: CopyFlags, env: Env): SourcePart {
  const [bucket = '', ...names] = rest.split('/')
  const key = names.join('/')
  const unfit = [
    ...(flags.include || flags.exclude ? ['--include, --exclude'] : []),
    ...(flags.after || flags.moveTo ? ['--after, --move-to'] : []),
  ]
  if (unfit.length > 0)
    throw invalid(`${unfit.join(', ')}: for files on an SFTP server or this machine, not for a bucket`)
  const isMany = key === '' || key.endsWith('/')
  const config = {
    ...{ type: 's3_scan', bucket, prefix: key, partition: 'none', delay_window: '0s' },
    ...given({
      endpoint: flags.sourceEndpoint ?? flags.endpoint ?? env.S3_ENDPOINT_URL,
      region: flags.sourceRegion ?? flags.region,
      workers: flags.files,
    }),
  }
  return { config, ...(isMany ? {} : { key }), isMany, place: `s3://${rest}` }
}

function targetOf(text: string, from: SourcePart): { bucket: string; key: string } {
  const [, bucket, key = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/is.exec(text) ?? []
  if (bucket === undefined) throw invalid(`cannot copy to ${text}: DEST is s3://bucket/folder/ or s3://bucket/key`)
  if (key === '' || key.endsWith('/')) return { bucket, key: `${key}{path}` }
  if (from.isMany) throw invalid(`SOURCE means many files, and DEST is the name of one: write ${text}/ for a folder`)
  return { bucket, key }
}

/** The environment of the SFTP-to-S3 streamer: what is in the folder goes to the same path in the bucket. */
function seedSource(flags: CopyFlags, env: Env): SourcePart {
  if (!env.SFTP_HOST)
    throw invalid(
      'say from where and to where: s3-streamer copy SOURCE DEST (or set SFTP_HOST, S3_BUCKET and the like)',
    )
  const { SFTP_HOST: host, SFTP_PORT: port, SFTP_USER: username, SFTP_PATH: path = '/upload/' } = env
  return sftpPart({ host, port, username, password: env.SFTP_PASSWORD, path }, flags, env)
}

function seedTarget(env: Env): { bucket: string; key: string } {
  if (!env.S3_BUCKET) throw invalid('SFTP_HOST is set, but not S3_BUCKET: name the bucket to copy to')
  return { bucket: env.S3_BUCKET, key: '{key}' }
}

/** Where an interrupted copy is remembered: by what it was asked for, so the same command finds it. */
function statePath(what: string, env: Env): string {
  const home = env.HOME ?? homedir()
  const base = env.XDG_STATE_HOME ?? (home === '' ? tmpdir() : join(home, '.local', 'state'))
  return join(base, 's3-streamer', `copy-${createHash('sha256').update(what).digest('hex').slice(0, 16)}.json`)
}

/** Without what was left out. */
function given(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

function invalid(message: string): StreamError {
  return new StreamError('config.invalid', message)
}
