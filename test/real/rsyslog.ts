/** rsyslog (https://www.rsyslog.com) as a receiver of RFC 5424 messages: TCP by octet counting, TLS, UDP. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { certificates, Receiver } from './receiver.ts'

/** A message as rsyslog took it apart. */
export interface RsyslogLine {
  readonly pri: string
  readonly time: string
  readonly host: string
  readonly app: string
  /** As it was sent, with its escapes; `-` for none. */
  readonly sd: string
  readonly msg: string
}

/** The file has a JSON object in each line: RsyslogLine. Throws if rsyslog is not installed. */
export function startRsyslog(): Promise<Receiver> {
  return Receiver.start('rsyslog', true, async ({ folder, file, ports }) => {
    const tls = (name: string) => JSON.stringify(join(certificates, name))
    // Without a queue of its own: what it read is in the file before it reads on, so a kill shows what the network loses.
    await writeFile(
      join(folder, 'rsyslog.conf'),
      `global(
  workDirectory="${folder}"
  maxMessageSize="64k"
  parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriverCAFile=${tls('ca.pem')}
  defaultNetstreamDriverCertFile=${tls('server.pem')}
  defaultNetstreamDriverKeyFile=${tls('server.key.pem')}
)
main_queue(queue.type="Direct")
module(load="imtcp" keepAlive="on")
module(load="imudp")
template(name="line" type="list" option.jsonf="on") {
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="sd" name="structured-data" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}
ruleset(name="all") {
  action(type="omfile" file=${JSON.stringify(file)} template="line")
}
input(type="imtcp" address="127.0.0.1" port="${ports.tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="${ports.tls}" ruleset="all"
  streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imudp" address="127.0.0.1" port="${ports.udp}" ruleset="all" rcvbufSize="4m")
`,
    )
    return { command: 'rsyslogd', args: ['-n', '-f', join(folder, 'rsyslog.conf'), '-i', join(folder, 'pid')] }
  })
}
