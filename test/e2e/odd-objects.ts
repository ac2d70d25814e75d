/** Objects of all the odd shapes that buckets hold, and the lines that must come of them. */
import { constants, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { cloudTrail, gzipped } from '../servers/s3-bodies.ts'
import { ZscalerData, zscalerPrefix } from '../servers/zscaler-data.ts'

export interface OddObject {
  readonly key: string
  readonly body: Buffer
  readonly lines: readonly string[]
  readonly contentType: string
  /** Words of the reason why the rest of it is in quarantine. */
  readonly quarantined?: RegExp
}

const ndjson = 'application/x-ndjson'
const day = `${zscalerPrefix}year=2025/month=10/day=12/`
const json = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => `{"datetime":"2025-10-12 21:41:${10 + (i % 50)}","from":"${name}","n":${i}}`)
const joined = (lines: readonly string[], end = '\n') => Buffer.from(lines.map((line) => `${line}${end}`).join(''))

/** Needs `csvFormat` among the formats and a line limit of 4 MiB. */
export function oddObjects(): OddObject[] {
  const objects: OddObject[] = []
  const add = (key: string, lines: readonly string[], body: Buffer, o: Partial<OddObject> = {}) =>
    void objects.push({ key, body, lines, contentType: ndjson, ...o })

  const data = new ZscalerData({ objects: 8, linesPerObject: 60 })
  for (let i = 0; i < 4; i += 1) {
    const text = data.text(i)
    add(data.key(i), text.toString().trimEnd().split('\n'), gzipSync(text))
  }
  const late = json('late', 20)
  add(`${zscalerPrefix}year=2025/month=10/day=9/1760005292_56442_130_1.gz`, late, gzipSync(joined(late)))
  for (const n of [1, 2, 3]) {
    const lines = json(`same second ${n}`, 10)
    add(`${day}1760305400_56442_130_${n}.gz`, lines, gzipSync(joined(lines)))
  }
  const bare = json('no extension', 30)
  add(`${day}1760305401_1_1_1`, bare, gzipSync(joined(bare)))
  const plain = json('plain', 30)
  add(`${day}1760305402_1_1_1.gz`, plain, joined(plain))
  const noEnd = json('no final newline', 5)
  add(`${day}1760305403_1_1_1`, noEnd, Buffer.from(noEnd.join('\n')))
  add(`${day}1760305404_1_1_1.gz`, [], Buffer.alloc(0))
  add(`${day}1760305405_1_1_1.gz`, [], gzipSync(''))
  add(`${day}`, [], Buffer.alloc(0))

  const good = json('before the cut', 40)
  const start = deflateRawSync(joined(good), { finishFlush: constants.Z_FULL_FLUSH })
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])
  add(`${day}1760305406_1_1_1.gz`, good, Buffer.concat([header, start]), { quarantined: /truncated|end/i })
  const corrupt = json('before the damage', 40)
  const head = deflateRawSync(joined(corrupt), { finishFlush: constants.Z_FULL_FLUSH })
  add(`${day}1760305407_1_1_1.gz`, corrupt, Buffer.concat([header, head, Buffer.alloc(50, 0xff)]), {
    quarantined: /corrupt|invalid/i,
  })

  const members = [json('member one', 10), json('member two', 10), json('member three', 10)]
  add(`${day}1760305408_1_1_1.gz`, members.flat(), Buffer.concat(members.map((lines) => gzipSync(joined(lines)))))
  const twice = json('twice', 10)
  add(`${day}1760305409_1_1_1.gz`, twice, gzipSync(gzipSync(joined(twice))))
  const crlf = json('crlf', 25)
  add(`${day}1760305410_1_1_1.gz`, crlf, gzipSync(Buffer.concat([Buffer.from('\r\n'), joined(crlf, '\r\n')])))
  const huge = [
    ...json('huge', 2),
    `{"datetime":"2025-10-12 21:41:32","huge":"${'h'.repeat(3 * 2 ** 20)}"}`,
    '{"after":"huge"}',
  ]
  add(`${day}1760305411_1_1_1.gz`, huge, gzipSync(joined(huge)))
  const zstd = json('zstd', 50)
  add(
    `${day}1760305412_1_1_1.zst`,
    zstd,
    Buffer.concat([zstdCompressSync(joined(zstd.slice(0, 20))), zstdCompressSync(joined(zstd.slice(20)))]),
  )
  const bad = ['{"datetime":"2025-10-12 21:41:32","ok":1}', '{"this is": no json}', '{"ok":2}']
  add(`${day}1760305413_1_1_1.gz`, bad, gzipSync(joined(bad)))
  const strange = json('A key with + and % and é', 5)
  add(`${day}some thing + 100% é.gz`, strange, gzipSync(joined(strange)))

  const trail = cloudTrail(200_000)
  const account = '123456789012'
  const trailText = Buffer.concat(
    trail.segments.flatMap(({ bytes, times }) => Array<Buffer>(times).fill(bytes)),
  ).toString()
  const records = (JSON.parse(trailText) as { Records: unknown[] }).Records.map((record) => JSON.stringify(record))
  add(
    `AWSLogs/${account}/CloudTrail/us-east-1/2025/10/12/${account}_CloudTrail_us-east-1_20251012T2140Z_abcdefghijklmnop.json.gz`,
    records,
    Buffer.concat([...gzipped(trail.segments).slices()]),
  )
  const rows = ['10:00,"one, two",ok', '10:01,"a ""quoted"" word",ok', '10:02,"over\ntwo lines",ok']
  add(
    'firewall/2025-10-12.fw.csv.gz',
    [...rows.slice(0, 2), JSON.stringify({ message: rows[2] })],
    gzipSync(joined(['time,what,result', ...rows])),
    { contentType: 'text/csv' },
  )
  const nginx = Array.from(
    { length: 20 },
    (_, i) => `10.0.0.${i} - - [12/Oct/2025:21:41:${10 + i} +0000] "GET /${i} HTTP/1.1" 200 612 "-" "curl/8"`,
  )
  add('web/access.log.gz', nginx, gzipSync(joined(nginx)), { contentType: 'text/plain' })
  return objects
}

export const csvFormat = `  log_formats:
    - name: firewall
      filename_pattern: "*.fw.csv.gz"
      timestamp_regex: '(\\d{4}-\\d{2}-\\d{2})\\.fw'
      timestamp_format: "2006-01-02"
      content_type: text/csv
      skip_header_lines: 1
      decoder: csv
`

/** Lines that came, by content type; compared as multisets. */
export class Arrivals {
  readonly #times = new Map<string, number>()
  readonly types = new Map<string, Set<string>>()
  received = 0

  readonly take = (body: Buffer, { headers }: { readonly headers: Readonly<Record<string, unknown>> }): void => {
    for (const line of body.toString().split('\n')) {
      if (line === '') continue
      this.received += 1
      this.#times.set(line, (this.#times.get(line) ?? 0) + 1)
      const types = this.types.get(line) ?? new Set()
      this.types.set(line, types.add(String(headers['content-type'])))
    }
  }

  /** Lines fewer times here than expected, and lines that nobody expected; duplicates are no loss. */
  compare(expected: readonly string[]): {
    readonly lost: string[]
    readonly strange: string[]
    readonly duplicated: number
  } {
    const wanted = new Map<string, number>()
    for (const line of expected) wanted.set(line, (wanted.get(line) ?? 0) + 1)
    const short = (line: string) => line.slice(0, 100)
    return {
      lost: [...wanted].filter(([line, n]) => (this.#times.get(line) ?? 0) < n).map(([line]) => short(line)),
      strange: [...this.#times.keys()].filter((line) => !wanted.has(line)).map(short),
      duplicated: this.received - expected.length,
    }
  }

  has(line: string): boolean {
    return this.#times.has(line)
  }
}
