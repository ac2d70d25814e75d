/**
 * A streamer with everything that can be observed: a bucket, a queue and an SFTP server as sources, inputs that fail now and then,
 * records for the quarantine, copies that push. New objects come until it is closed.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, type Ended } from '../e2e/command.ts'
import { type Fault, type HttpInput, startHttpInput } from '../servers/http-input.ts'
import { type S3Server, startS3 } from '../servers/s3.ts'
import { s3Event } from '../servers/s3-events.ts'
import { type SftpServer, startSftp } from '../servers/sftp.ts'
import { type SqsServer, startSqs } from '../servers/sqs.ts'
import { freePort } from './process.ts'

type Servers = readonly [S3Server, SqsServer, SftpServer, ...HttpInput[]]

const linesPerObject = 20

/** Busy, gone, broken after the batch was taken; one refuses a batch for good. */
function faults(n: number): Fault | undefined {
  if (n === 2) return { status: 400, body: 'no field "host"' }
  if (n % 5 === 3) return { status: 503 }
  return n % 7 === 4 ? 'reset' : undefined
}

export class ObservedStreamer implements AsyncDisposable {
  readonly #servers: Servers
  readonly #folder: string
  readonly #timer: NodeJS.Timeout
  readonly #lost = new Set<Servers[number]>()
  #written = 0
  readonly config: string
  /** `host:port` of its `/metrics`. */
  readonly address: string
  readonly command: Command

  private constructor(servers: Servers, folder: string, port: number) {
    this.#servers = servers
    this.#folder = folder
    this.config = join(folder, 'config.yaml')
    this.address = `127.0.0.1:${port}`
    this.#writeConfig()
    this.#write()
    this.#timer = setInterval(() => this.#write(), 500)
    this.command = this.run('run')
  }

  static async start(): Promise<ObservedStreamer> {
    const inputs = [await startHttpInput({ fault: faults }), await startHttpInput({ fault: faults })]
    const servers = [await startS3(), await startSqs(), await startSftp(), ...inputs] as const
    servers[1].createQueue('logs')
    return new ObservedStreamer(servers, mkdtempSync(join(tmpdir(), 's3-streamer-observed-')), await freePort())
  }

  #writeConfig(): void {
    const [s3, sqs, sftp, ...inputs] = this.#servers
    const bucket = { bucket: 'logs', region: 'us-east-1', endpoint: s3.endpoint }
    const state = (name: string) => ({ file_path: join(this.#folder, `${name}.json`), save_interval: '1s' })
    const known = join(this.#folder, 'known_hosts')
    writeFileSync(known, sftp.knownHosts)
    const login = { host: sftp.host, port: sftp.port, username: sftp.user, password: sftp.password }
    const sink = { type: 'http', endpoints: inputs.map(({ url }) => url), batch: { linger: '100ms' } }
    const timing = { scan_interval: '1s', delay_window: '1s' }
    const queue = { type: 's3_sqs', queue_url: sqs.queueUrl('logs'), endpoint: s3.endpoint, region: 'us-east-1' }
    const pipelines = [
      { name: 'web', source: { type: 's3_scan', ...bucket, prefix: 'web/', ...timing }, exclude: 'n=3$', sink },
      { name: 'queue', source: { ...queue, interval: '1s' }, sink },
      {
        name: 'vendor',
        source: { type: 'sftp', ...login, known_hosts_file: known, path: '/upload', poll_interval: '1s' },
        sink: { type: 's3', ...bucket, bucket: 'data', key: 'vendor/{path}' },
      },
    ].map((pipeline) => ({ ...pipeline, state: state(pipeline.name) }))
    // Nobody listens there, which is of no consequence but in its own figures.
    const otlp = { enabled: true, endpoint: '127.0.0.1:1', export_interval: '1s' }
    // JSON is YAML.
    writeFileSync(this.config, JSON.stringify({ pipelines, otlp, health: { address: this.address } }))
  }

  /** One more object for each of the pipelines. */
  #write(): void {
    const [s3, sqs, sftp] = this.#servers
    this.#written += 1
    const text = Array.from({ length: linesPerObject }, (_, n) => `object ${this.#written} n=${n}\n`).join('')
    const second = Math.floor(Date.now() / 1000)
    s3.put(`web/${second}_1_1_${this.#written}`, text)
    const key = `queued/${this.#written}.log`
    s3.put(key, text)
    const etag = createHash('md5').update(text).digest('hex')
    sqs.send('logs', s3Event({ bucket: 'logs', key, etag, eventTime: new Date().toISOString() }))
    sftp.put(`/upload/${this.#written}.csv`, text)
  }

  /** A command of the streamer with its configuration. */
  run(...args: string[]): Command {
    return new Command([...args, '--config', this.config])
  }

  /** `s3-streamer copy` of the files there are, which pushes to a Pushgateway. */
  copy(pushgateway: string): Promise<Ended> {
    const [s3, , sftp] = this.#servers
    const login = `sftp://${sftp.user}:${encodeURIComponent(sftp.password)}@${sftp.host}:${sftp.port}`
    const known = ['--known-hosts', join(this.#folder, 'known_hosts'), '--endpoint', s3.endpoint]
    const args = ['copy', `${login}/upload/`, 's3://data/copied/', ...known, '--pushgateway', pushgateway]
    return new Command(args, { env: { HOME: this.#folder, XDG_STATE_HOME: join(this.#folder, 'state') } }).ended
  }

  /** Ends what it sends to, or reads the objects from. */
  async lose(what: 'inputs' | 'bucket'): Promise<void> {
    const [s3, , , ...inputs] = this.#servers
    for (const server of what === 'bucket' ? [s3] : inputs) {
      this.#lost.add(server)
      await server.close()
    }
  }

  /** The file has a mistake from now on. */
  breakConfig(): void {
    writeFileSync(this.config, 'pipelines: [{ name: web, sorce: {} }]')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    // What it cannot deliver any more it would try to for half a minute.
    await this.command.kill(this.#lost.size > 0 ? 'SIGKILL' : 'SIGTERM')
    await Promise.all(this.#servers.filter((server) => !this.#lost.has(server)).map((server) => server.close()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
