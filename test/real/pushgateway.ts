/** Prometheus' Pushgateway, which keeps the last metrics pushed to it, and promtool, which says what is wrong with some. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { freePort, startProcess, stopProcess } from './process.ts'
import { cached, certificates } from './receiver.ts'

const username = 'pusher'
const password = 'push'
/** bcrypt of the password, the one form that the gateway takes. */
const passwordHash = '$2b$04$C56kEQyXHjfUEesGQ6Ag2OxCe.6RM4JMWv/538ySwFyzAHDMJGhGi'

export interface Pushgateway extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`, or https */
  readonly url: string
  readonly pid: number
  /** What Prometheus would read. */
  metrics(): Promise<string>
  /** One for each grouping key it was pushed to: the labels of the key. */
  groups(): Promise<ReadonlyArray<Readonly<Record<string, string>>>>
  /** SIGKILL; what it had is gone. */
  kill(): Promise<void>
  /** On the same port, empty. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface ProtectedPushgateway extends Pushgateway {
  readonly username: string
  readonly password: string
  /** File of the authority that signed its certificate. */
  readonly ca: string
}

/** Throws if test/real/setup was not run. */
export function startPushgateway(): Promise<Pushgateway> {
  return start('http', '')
}

/** By TLS, and only for one who knows the password. */
export async function startProtectedPushgateway(): Promise<ProtectedPushgateway> {
  const file = (name: string) => JSON.stringify(join(certificates, name))
  const gateway = await start(
    'https',
    `tls_server_config: { cert_file: ${file('server.pem')}, key_file: ${file('server.key.pem')} }
basic_auth_users: { ${username}: "${passwordHash}" }
`,
  )
  return Object.assign(gateway, { username, password, ca: join(certificates, 'ca.pem') })
}

async function start(scheme: 'http' | 'https', configuration: string): Promise<Pushgateway> {
  const binary = cached('debian-prometheus-pushgateway', 'usr', 'bin', 'prometheus-pushgateway')
  const folder = await mkdtemp(join(tmpdir(), 's3-streamer-pushgateway-'))
  const file = join(folder, 'web.yaml')
  await writeFile(file, configuration)
  const port = await freePort()
  const url = `${scheme}://127.0.0.1:${port}`
  const args = ['--persistence.file=', `--web.config.file=${file}`, `--web.listen-address=127.0.0.1:${port}`]
  // The certificate is not what is asked about here.
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  const get = async (path: string) => {
    const { statusCode, body } = await request(`${url}${path}`, { dispatcher, headers: { authorization } })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`cannot read ${url}${path}: ${statusCode} ${text}`)
    return text
  }
  let child: ChildProcess
  const begin = async () => {
    child = await startProcess(binary, args, () => get('/-/ready'))
  }
  const stop = async () => {
    await stopProcess(child, 'SIGTERM')
    await dispatcher.close()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await begin()
  } catch (error) {
    await dispatcher.close()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    url,
    get pid() {
      return child.pid as number
    },
    metrics: () => get('/metrics'),
    groups: async () => {
      const { data } = JSON.parse(await get('/api/v1/metrics')) as { readonly data: readonly Group[] }
      return data.map(({ labels }) => labels)
    },
    kill: () => stopProcess(child, 'SIGKILL'),
    restart: async () => {
      await stopProcess(child, 'SIGTERM')
      await begin()
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

interface Group {
  readonly labels: Readonly<Record<string, string>>
}

/** What `promtool check metrics` finds wrong with a text of metrics: a line for each fault, '' if there is none. */
export async function metricFaults(text: string): Promise<string> {
  const promtool = spawn(cached('debian-prometheus', 'usr', 'bin', 'promtool'), ['check', 'metrics'])
  let said = ''
  for (const stream of [promtool.stdout, promtool.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
  }
  promtool.stdin.end(text)
  const [code] = (await once(promtool, 'close')) as [number]
  return code === 0 || said !== '' ? said : `promtool ended with ${code}`
}
