/** The OpenTelemetry Collector of test/real/otel-collector: OTLP by gRPC and HTTP, without TLS and with it, into a file. */
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OtlpJson } from '../servers/otlp-data.ts'
import { answer, freePort, startProcess, stopProcess } from './process.ts'
import { cached, certificates } from './receiver.ts'

export interface OtelCollector extends AsyncDisposable {
  /** Ports of 127.0.0.1; those with TLS ask for a client certificate. */
  readonly ports: Readonly<Record<'grpc' | 'http' | 'grpcTls' | 'httpTls', number>>
  /** All that it has written to its file, over restarts. */
  exports(): Promise<readonly OtlpJson[]>
  /** Looks into the file until `holds` is true of what is in it. */
  until(holds: (exports: readonly OtlpJson[]) => boolean): Promise<readonly OtlpJson[]>
  /** SIGKILL */
  kill(): Promise<void>
  /** On the same ports, with the same file. */
  restart(): Promise<void>
}

/** Throws if test/real/setup was not run. */
export async function startOtelCollector(): Promise<OtelCollector> {
  const binary = cached('otel-collector', 'otel-collector')
  const folder = await mkdtemp(join(tmpdir(), 's3-streamer-otel-collector-'))
  const file = join(folder, 'exports.json')
  const configuration = join(folder, 'config.yaml')
  const ports = { grpc: await freePort(), http: await freePort(), grpcTls: await freePort(), httpTls: await freePort() }
  await writeFile(configuration, configurationOf(ports, file))
  let child: ChildProcess | undefined
  const begin = async () => {
    child = await startProcess(binary, ['--config', configuration], () => answer(`http://127.0.0.1:${ports.http}/`))
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child) await stopProcess(child, signal)
  }
  const exports = async () => {
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n')
    // What is behind the last line feed is being written.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as OtlpJson)
  }
  const dispose = async () => {
    await end('SIGTERM')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await begin()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    ports,
    exports,
    until: async (holds) => {
      for (;;) {
        const found = await exports()
        if (holds(found)) return found
        await sleep(50)
      }
    },
    kill: () => end('SIGKILL'),
    restart: begin,
    [Symbol.asyncDispose]: dispose,
  }
}

function configurationOf(ports: OtelCollector['ports'], file: string): string {
  const pem = (name: string) => JSON.stringify(join(certificates, name))
  const tls = `{ cert_file: ${pem('server.pem')}, key_file: ${pem('server.key.pem')}, client_ca_file: ${pem('ca.pem')} }`
  return `receivers:
  otlp:
    protocols:
      grpc: { endpoint: "127.0.0.1:${ports.grpc}" }
      http: { endpoint: "127.0.0.1:${ports.http}" }
  otlp/tls:
    protocols:
      grpc: { endpoint: "127.0.0.1:${ports.grpcTls}", tls: ${tls} }
      http: { endpoint: "127.0.0.1:${ports.httpTls}", tls: ${tls} }
exporters:
  file: { path: ${JSON.stringify(file)}, append: true, flush_interval: 20ms }
service:
  telemetry: { metrics: { level: none }, logs: { level: warn } }
  pipelines:
    metrics: { receivers: [otlp, otlp/tls], exporters: [file] }
    logs: { receivers: [otlp, otlp/tls], exporters: [file] }
    traces: { receivers: [otlp, otlp/tls], exporters: [file] }
`
}
