/** ElasticMQ (https://github.com/softwaremill/elasticmq), an SQS server. It checks no signatures. Queues and messages outlive a kill. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { JavaServer } from './java-server.ts'
import { answer, freePort } from './process.ts'

export interface Elasticmq extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly region: string
  readonly pid: number
  queueUrl(name: string): string
  /** SIGKILL */
  kill(): Promise<void>
  /** On the same port and data. */
  restart(): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

/** Throws if test/real/setup was not run. */
export async function startElasticmq(): Promise<Elasticmq> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const region = 'us-east-1'
  const server = await JavaServer.start({
    name: 'elasticmq',
    heap: '256m',
    args: (folder) => [`-Dconfig.file=${join(folder, 'elasticmq.conf')}`, 'org.elasticmq.server.Main'],
    ready: () => answer(`${endpoint}/?Action=ListQueues`),
    prepare: (folder) => writeFile(join(folder, 'elasticmq.conf'), configuration(folder, port, region)),
  })
  return {
    endpoint,
    region,
    get pid() {
      return server.pid
    },
    queueUrl: (name) => `${endpoint}/000000000000/${name}`,
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}

function configuration(folder: string, port: number, region: string): string {
  // The database waits half a second before it writes, unless told otherwise.
  const uri = `jdbc:h2:${join(folder, 'messages')};WRITE_DELAY=0`
  return `include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = ${port}, context-path = "" }
rest-sqs { enabled = true, bind-hostname = "127.0.0.1", bind-port = ${port}, sqs-limits = strict }
rest-stats { enabled = false, bind-hostname = "127.0.0.1", bind-port = 0 }
generate-node-address = false
queues-storage { enabled = false, path = "" }
messages-storage {
  enabled = true
  driver-class-name = "org.h2.Driver"
  uri = ${JSON.stringify(uri)}
  username = sa
  password = ""
  prune-data-on-init = false
}
aws { region = ${region}, accountId = "000000000000" }
queues {}
`
}
