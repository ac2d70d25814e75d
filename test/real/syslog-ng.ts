/** syslog-ng (https://www.syslog-ng.com) as a receiver of RFC 5424 messages: TCP by octet counting, TLS, UDP. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached, certificates, Receiver } from './receiver.ts'

/** A message as syslog-ng took it apart. */
export interface SyslogNgLine {
  readonly pri: string
  readonly time: string
  readonly host: string
  readonly app: string
  /** Parsed and without its escapes. */
  readonly sd?: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly msg: string
}

/** The file has a JSON object in each line: SyslogNgLine. Throws if test/real/setup was not run. */
export function startSyslogNg(): Promise<Receiver> {
  return Receiver.start('syslog-ng', true, async ({ folder, file, ports }) => {
    const root = cached('syslog-ng')
    const modules = join(root, 'usr/lib/syslog-ng')
    const version = (await readdir(modules)).find((name) => /^\d+\.\d+$/.test(name))
    if (version === undefined)
      throw new Error(`cannot find the modules of syslog-ng in ${modules}: run test/real/setup`)
    const libraries = (
      await Promise.all([libraryFolders(join(root, 'lib')), libraryFolders(join(root, 'usr/lib'))])
    ).flat()
    const conf = join(folder, 'syslog-ng.conf')
    await writeFile(conf, configuration(version, file, ports))
    return {
      command: join(root, 'usr/sbin/syslog-ng'),
      args: [
        ...['-F', '--no-caps', '-f', conf, `--module-path=${join(modules, version)}`],
        ...[`--persist-file=${join(folder, 'persist')}`, '-p', join(folder, 'pid'), '-c', join(folder, 'control')],
      ],
      env: { LD_LIBRARY_PATH: [...libraries, modules].join(':') },
    }
  })
}

async function libraryFolders(parent: string): Promise<string[]> {
  const names = await readdir(parent).catch(() => [])
  return names.filter((name) => name.includes('-linux-gnu')).map((name) => join(parent, name))
}

function configuration(
  version: string,
  file: string,
  ports: { readonly tcp: number; readonly tls: number; readonly udp: number },
): string {
  const tls = (name: string) => JSON.stringify(join(certificates, name))
  return `@version: ${version}
options { keep-hostname(yes); use-dns(no); stats-freq(0); frac-digits(3); log-msg-size(65536); };
source all {
  syslog(ip("127.0.0.1") port(${ports.tcp}) transport("tcp"));
  syslog(ip("127.0.0.1") port(${ports.tls}) transport("tls")
    tls(key-file(${tls('server.key.pem')}) cert-file(${tls('server.pem')}) peer-verify(optional-untrusted)));
  syslog(ip("127.0.0.1") port(${ports.udp}) transport("udp") so-rcvbuf(4194304));
};
destination received {
  file(${JSON.stringify(file)} template("$(format-json pri=$PRI time=$ISODATE host=$HOST app=$PROGRAM msg=$MSG
    --key .SDATA.* --rekey .SDATA.* --shift 7 --add-prefix sd.)\\n"));
};
log { source(all); destination(received); flags(flow-control); };
`
}
