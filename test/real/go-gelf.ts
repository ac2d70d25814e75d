/** The GELF receiver of test/real/go-gelf: UDP as Promtail reads it, and TCP. It has neither TLS nor HTTP. */
import { cached, Receiver } from './receiver.ts'

/** A message as go-gelf took it apart, or what it could not read. */
export type GelfLine = GelfMessage | { readonly transport: 'udp' | 'tcp'; readonly error: string }

export interface GelfMessage {
  readonly version: string
  readonly host: string
  readonly short_message: string
  readonly full_message?: string
  readonly timestamp: number
  readonly level?: number
  /** The additional fields, with `_` before their names. */
  readonly extra: Readonly<Record<string, string | number>>
}

/** The file has a JSON object in each line: GelfLine. Throws if test/real/setup was not run. */
export function startGoGelf(): Promise<Receiver> {
  return Receiver.start('go-gelf', false, async ({ file, ports }) => ({
    command: cached('go-gelf', 'go-gelf'),
    args: ['-udp', `127.0.0.1:${ports.udp}`, '-tcp', `127.0.0.1:${ports.tcp}`, '-out', file],
  }))
}
