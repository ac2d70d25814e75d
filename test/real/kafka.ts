/** Apache Kafka (https://kafka.apache.org) without ZooKeeper: one node, broker and controller, with a plain, a SASL and a TLS listener. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Admin } from '@platformatic/kafka'
import { JavaServer, javaSource, librariesOf } from './java-server.ts'
import { freePort } from './process.ts'

const run = promisify(execFile)

export interface Kafka extends AsyncDisposable {
  /** `127.0.0.1:<port>`, of the listener without TLS and login. */
  readonly address: string
  /** Wants a login (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512) by `user`. */
  readonly saslAddress: string
  /** TLS, with the certificate that `caFile` signed. */
  readonly tlsAddress: string
  readonly user: { readonly username: string; readonly password: string }
  readonly caFile: string
  readonly pid: number
  createTopic(
    name: string,
    o?: { readonly partitions?: number; readonly config?: Record<string, string> },
  ): Promise<void>
  /** Every message of the topic, as the client of Kafka's own makers reads it. */
  messages(topic: string): Promise<KafkaMessage[]>
  /** Messages written so far. */
  count(topic: string): Promise<number>
  /** SIGKILL */
  kill(): Promise<void>
  /** On the same ports and data. */
  restart(): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

export interface KafkaMessage {
  readonly partition: number
  readonly offset: number
  readonly key: string | undefined
  /** Headers; undefined if the message has none of the name. */
  readonly recordId: string | undefined
  readonly origin: string | undefined
  readonly value: Buffer
}

const user = { username: 'streamer', password: 'streamer-secret' }
const serverKey = fileURLToPath(new URL('../servers/tls/server.key.pem', import.meta.url))
const certificate = fileURLToPath(new URL('../servers/tls/server.pem', import.meta.url))
const caFile = fileURLToPath(new URL('../servers/tls/ca.pem', import.meta.url))

/** Throws if test/real/setup was not run. */
export async function startKafka(): Promise<Kafka> {
  const [plain, sasl, tls, controller] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const address = `127.0.0.1:${plain}`
  const server = await JavaServer.start({
    name: 'kafka',
    heap: '384m',
    args: (folder) => [logging(folder), 'kafka.Kafka', join(folder, 'server.properties')],
    ready: () => withAdmin(address, async (admin) => void (await admin.metadata({ topics: [] }))),
    prepare: async (folder) => {
      await writeFile(join(folder, 'log4j2.properties'), quiet)
      await writeFile(
        join(folder, 'server.pem'),
        Buffer.concat([await readFile(serverKey), await readFile(certificate)]),
      )
      const properties = join(folder, 'server.properties')
      await writeFile(properties, configuration(folder, { plain, sasl, tls, controller }))
      const scram = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=${user.username},password=${user.password}]`,
      ])
      // Sixteen bytes that never begin with a "-" in base64url: the tool would take that for an option.
      const clusterId = Buffer.from('s3-streamer-test').toString('base64url')
      const format = ['format', '--cluster-id', clusterId, '--config', properties, ...scram]
      await java(logging(folder), 'kafka.tools.StorageTool', ...format)
    },
  })
  return {
    address,
    saslAddress: `127.0.0.1:${sasl}`,
    tlsAddress: `127.0.0.1:${tls}`,
    user,
    caFile,
    get pid() {
      return server.pid
    },
    createTopic: (name, { partitions = 1, config = {} } = {}) =>
      withAdmin(address, async (admin) => {
        const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }))
        await admin.createTopics({ topics: [name], partitions, replicas: 1, configs })
      }),
    count: (topic) => withAdmin(address, (admin) => endOf(admin, topic)),
    messages: async (topic) => messagesIn(await java(logging(server.folder), javaSource('ReadTopic'), address, topic)),
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}

/** Runs a program of Kafka's libraries to its end. */
async function java(...args: readonly string[]): Promise<Buffer> {
  const { stdout } = await run('java', ['-Xmx256m', '-cp', join(librariesOf('kafka'), '*'), ...args], {
    encoding: 'buffer',
    maxBuffer: 2 ** 30,
  })
  return stdout
}

/** A client of its own each time: none is left with what it knew of a broker that was killed. */
async function withAdmin<T>(address: string, ask: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({
    clientId: 'test',
    bootstrapBrokers: [address],
    retries: 0,
    connectTimeout: 1000,
    timeout: 10_000,
  })
  try {
    return await ask(admin)
  } finally {
    await admin.close()
  }
}

async function endOf(admin: Admin, topic: string): Promise<number> {
  const { topics } = await admin.metadata({ topics: [topic] })
  const count = topics.get(topic)?.partitionsCount ?? 0
  const latest = -1n
  const partitions = Array.from({ length: count }, (_, partitionIndex) => ({ partitionIndex, timestamp: latest }))
  const offsets = await admin.listOffsets({ topics: [{ name: topic, partitions }] })
  return offsets.flatMap((it) => it.partitions).reduce((sum, { offset }) => sum + Number(offset), 0)
}

/** What ReadTopic.java writes: two lines a message. */
function messagesIn(text: Buffer): KafkaMessage[] {
  const messages: KafkaMessage[] = []
  const given = (field: string | undefined) => (field === '-' ? undefined : field)
  for (let at = 0; at < text.length; ) {
    const headEnd = text.indexOf(10, at)
    const valueEnd = text.indexOf(10, headEnd + 1)
    const [partition, offset, key, recordId, origin] = text.toString('utf8', at, headEnd).split('\t')
    messages.push({
      partition: Number(partition),
      offset: Number(offset),
      key: given(key),
      recordId: given(recordId),
      origin: given(origin),
      value: text.subarray(headEnd + 1, valueEnd),
    })
    at = valueEnd + 1
  }
  return messages
}

const logging = (folder: string) => `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`

const quiet = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n
`

function configuration(folder: string, ports: Record<'plain' | 'sasl' | 'tls' | 'controller', number>): string {
  const { plain, sasl, tls, controller } = ports
  const listeners = `PLAINTEXT://127.0.0.1:${plain},SASL_PLAINTEXT://127.0.0.1:${sasl},SSL://127.0.0.1:${tls}`
  const login = (name: string, rest = '') => `org.apache.kafka.common.security.${name}LoginModule required${rest};`
  const scram = login('scram.Scram')
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL
listeners=${listeners},CONTROLLER://127.0.0.1:${controller}
advertised.listeners=${listeners}
inter.broker.listener.name=PLAINTEXT
log.dirs=${join(folder, 'data')}
auto.create.topics.enable=false
# So long the controller takes a broker that was killed for alive, and the one started anew for another of its number.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config=${login('plain.Plain', ` user_${user.username}="${user.password}"`)}
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=${scram}
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=${scram}
ssl.keystore.type=PEM
ssl.keystore.location=${join(folder, 'server.pem')}
`
}
