/**
 * Objects as Zscaler's Nanolog Streaming Service writes them to a bucket, in the shape the first seed measured: about
 * 10 MB in 6,554 JSON lines, 640–660 KB as gzip. Every line carries its object's and its own number in `rid`, always at the
 * same place, so that what arrives can be counted: see LineCounter. The same options give the same bytes.
 */
import { promisify } from 'node:util'
import { gzip, gzipSync } from 'node:zlib'

export interface ZscalerOptions {
  /** Objects in all. */
  readonly objects: number
  readonly linesPerObject?: number
  /** Mean length of a line with its newline. */
  readonly lineBytes?: number
  readonly prefix?: string
  /** Name time of the first object. */
  readonly start?: Date
  /** Seconds between one object's time and the next; 0: all have the same second. */
  readonly everySeconds?: number
  readonly seed?: number
}

export interface ZscalerObject {
  readonly key: string
  /** Of the name, to the second. */
  readonly time: Date
  /** Uncompressed. */
  readonly bytes: number
  readonly lines: number
  readonly gz: Buffer
}

export const zscalerPrefix = '_weblog/feedname=Threat Team - Web/'

/** A line begins with this; the id follows: 6 digits of the object, 6 of the line. */
const lineStart = '{ "sourcetype" : "zscalernss-web", "event" : {"rid":"'
const idOffset = lineStart.length
const digits = 6

/** Lines of one object, as the first seed measured. */
const seedLines = 6554
const gzipAsync = promisify(gzip)

/** Makes objects one after the other from a common template; only numbers differ. */
export class ZscalerData {
  readonly objects: number
  readonly linesPerObject: number
  readonly #options: Required<ZscalerOptions>
  readonly #template: Buffer
  /** Offset of each line in the template. */
  readonly #starts: Uint32Array

  constructor(options: ZscalerOptions) {
    this.#options = {
      linesPerObject: seedLines,
      lineBytes: 1530,
      prefix: zscalerPrefix,
      start: new Date('2025-10-12T21:41:32Z'),
      everySeconds: 5,
      seed: 1,
      ...options,
    }
    this.objects = options.objects
    this.linesPerObject = this.#options.linesPerObject
    const random = mulberry32(this.#options.seed)
    const lines = Array.from({ length: this.linesPerObject }, (_, line) =>
      Buffer.from(webLine(line, this.#options.lineBytes, random)),
    )
    this.#starts = new Uint32Array(lines.length)
    let at = 0
    for (const [index, line] of lines.entries()) {
      this.#starts[index] = at
      at += line.length
    }
    this.#template = Buffer.concat(lines, at)
  }

  /** Uncompressed bytes of each object. */
  get objectBytes(): number {
    return this.#template.length
  }

  time(index: number): Date {
    return new Date(this.#options.start.getTime() + index * this.#options.everySeconds * 1000)
  }

  /** `<prefix>year=2025/month=10/day=12/1760305292_56442_130_1.gz`, months and days unpadded; names differ within a second. */
  key(index: number, time = this.time(index)): string {
    const day = `year=${time.getUTCFullYear()}/month=${time.getUTCMonth() + 1}/day=${time.getUTCDate()}`
    return `${this.#options.prefix}${day}/${Math.floor(time.getTime() / 1000)}_${56442 + (index % 7)}_${130 + index}_${1 + (index % 3)}.gz`
  }

  text(index: number): Buffer {
    const text = Buffer.from(this.#template)
    const id = Buffer.from(String(index).padStart(digits, '0'))
    for (const start of this.#starts) text.set(id, start + idOffset)
    return text
  }

  async object(index: number): Promise<ZscalerObject> {
    const gz = await gzipAsync(this.text(index), { level: 6, chunkSize: 2 ** 20 })
    return { key: this.key(index), time: this.time(index), bytes: this.objectBytes, lines: this.linesPerObject, gz }
  }

  /** Two at a time, in order. */
  async *all(): AsyncGenerator<ZscalerObject, void, undefined> {
    let next = this.objects > 0 ? this.object(0) : undefined
    for (let index = 1; next; index += 1) {
      const after = index < this.objects ? this.object(index) : undefined
      yield await next
      next = after
    }
  }
}

const single = new Map<number, ZscalerData>()

/** One object of its own; `startMs` is the time in its name, 5 s after that of the object before it if left out. */
export function zscalerObject(o: { readonly object: number; readonly lines?: number; readonly startMs?: number }): {
  readonly key: string
  /** gzip */
  readonly body: Buffer
  /** Uncompressed. */
  readonly bytes: number
  readonly lines: number
} {
  const lines = o.lines ?? seedLines
  let data = single.get(lines)
  if (!data) {
    data = new ZscalerData({ objects: 10 ** digits, linesPerObject: lines, prefix: '' })
    single.set(lines, data)
  }
  const body = gzipSync(data.text(o.object), { level: 6, chunkSize: 2 ** 20 })
  const time = o.startMs === undefined ? data.time(o.object) : new Date(o.startMs)
  return { key: data.key(o.object, time), body, bytes: data.objectBytes, lines }
}

export interface LineCounts {
  readonly expected: number
  /** Lines that came, duplicates and strange ones too. */
  readonly received: number
  readonly lost: number
  /** Receipts beyond the first of each line. */
  readonly duplicated: number
  /** Lines that are not ours, or not whole. */
  readonly strange: number
}

/** Counts lines of ZscalerData that arrived, whatever their order and number; takes a byte of memory per line expected. */
export class LineCounter {
  readonly #objects: number
  readonly #lines: number
  readonly #seen: Uint8Array
  #received = 0
  #unique = 0
  #strange = 0

  constructor(data: { readonly objects: number; readonly linesPerObject?: number }) {
    this.#objects = data.objects
    this.#lines = data.linesPerObject ?? seedLines
    this.#seen = new Uint8Array(this.#objects * this.#lines)
  }

  /** Takes the body of one POST: lines, the last with or without its newline. */
  add(body: Buffer): void {
    for (let at = 0; at < body.length; ) {
      const newline = body.indexOf(10, at)
      const end = newline < 0 ? body.length : newline
      if (end > at) this.#line(body, at, end)
      at = end + 1
    }
  }

  #line(body: Buffer, start: number, end: number): void {
    this.#received += 1
    const object = decimal(body, start + idOffset)
    const line = decimal(body, start + idOffset + digits)
    // Both braces of the end: a line that was cut is not a line.
    const whole =
      body[end - 1] === 0x7d && body[end - 2] === 0x7d && body[start] === 0x7b && end - start > idOffset + 2 * digits
    if (!whole || !(object >= 0 && object < this.#objects && line >= 0 && line < this.#lines)) {
      this.#strange += 1
      return
    }
    const place = object * this.#lines + line
    const times = this.#seen[place] ?? 0
    if (times === 0) this.#unique += 1
    if (times < 255) this.#seen[place] = times + 1
  }

  /** Lines of one object that have arrived at least once. */
  arrived(object: number): number {
    let count = 0
    for (let i = object * this.#lines; i < (object + 1) * this.#lines; i += 1) if (this.#seen[i]) count += 1
    return count
  }

  get expected(): number {
    return this.#objects * this.#lines
  }

  get received(): number {
    return this.#received
  }

  get lost(): number {
    return this.expected - this.#unique
  }

  get duplicated(): number {
    return this.#received - this.#strange - this.#unique
  }

  get strange(): number {
    return this.#strange
  }

  result(): LineCounts {
    const { expected, received, lost, duplicated, strange } = this
    return { expected, received, lost, duplicated, strange }
  }
}

/** An object's or a line's number, or NaN. */
function decimal(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = at; i < at + digits; i += 1) {
    const digit = (bytes[i] ?? 0) - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return value
}

/** Fields of https://help.zscaler.com/zia/nss-feed-output-format-web-logs, in the order of its JSON feed. */
function webLine(line: number, bytes: number, random: () => number): string {
  const below = (n: number) => Math.floor(random() * n)
  const pick = (list: readonly string[]) => list[below(list.length)] as string
  const host = `${pick(hostWords)}${pick(hostWords)}.${pick(domains)}`
  const userId = below(4000)
  const server = below(256)
  const user = `user${userId}@corp.example.com`
  const allowed = random() < 0.9
  const second = 32 + Math.floor((line * 5) / 6554)
  const path = `/${pick(pathWords)}/${pick(pathWords)}/${below(2 ** 32).toString(16)}?v=${below(1000)}`
  const fields = {
    datetime: `2025-10-12 21:41:${second}`,
    reason: allowed ? 'Allowed' : 'Not allowed to browse this category',
    protocol: random() < 0.95 ? 'HTTPS' : 'HTTP',
    action: allowed ? 'Allowed' : 'Blocked',
    transactionsize: String(below(60_000)),
    responsesize: String(below(50_000)),
    requestsize: String(below(4000)),
    urlcategory: pick(categories),
    serverip: `52.84.${server}.${server ^ 77}`,
    requestmethod: random() < 0.8 ? 'GET' : pick(['POST', 'CONNECT', 'HEAD', 'PUT']),
    refererURL: random() < 0.3 ? `https://${host}/` : 'None',
    useragent: pick(agents),
    product: 'NSS',
    location: pick(locations),
    ClientIP: `10.12.${userId >>> 8}.${userId & 255}`,
    status: allowed ? pick(['200', '200', '200', '204', '302', '304', '404']) : '403',
    user,
    url: `${host}${path}`,
    vendor: 'Zscaler',
    hostname: host,
    clientpublicIP: pick(publicAddresses),
    threatcategory: 'None',
    threatname: 'None',
    filetype: pick(['None', 'None', 'JavaScript', 'PNG', 'HTML', 'JSON']),
    appname: pick(['General Browsing', 'Microsoft 365', 'Google Analytics', 'Slack', 'YouTube', 'Salesforce']),
    pagerisk: String(below(30)),
    department: pick(['Engineering', 'Finance', 'Sales', 'Human Resources', 'Legal', 'Support']),
    urlsupercategory: pick(['Internet Communication', 'Business and Economy', 'News and Media', 'User-defined']),
    appclass: pick(['General Browsing', 'Business', 'Streaming Media', 'Collaboration']),
    dlpengine: 'None',
    urlclass: pick(['Business Use', 'Productivity Loss', 'Bandwidth Loss', 'General Surfing']),
    threatclass: 'None',
    dlpdictionaries: 'None',
    fileclass: 'None',
    bwthrottle: 'NO',
    contenttype: pick(['text/html', 'application/json', 'image/png', 'application/javascript', 'other']),
    unscannabletype: 'None',
    devicehostname: `LT-${userId}`,
    deviceowner: user.slice(0, user.indexOf('@')),
    keyprotectiontype: 'N/A',
    ssldecrypted: random() < 0.7 ? 'Yes' : 'No',
    clienttlsversion: 'TLS1.3',
    clientsslcipher: 'TLS_AES_256_GCM_SHA384',
    servertlsversion: 'TLS1.2',
    serversslcipher: 'ECDHE-RSA-AES256-GCM-SHA384',
    servercertvalidationtype: 'Extended Validation',
    servercertchainvalpass: 'Pass',
    rulelabel: 'Default Cloud Application Control Rule - Threat Team',
    ruletype: allowed ? 'None' : 'URL Filtering',
  }
  const body = JSON.stringify(fields).slice(1, -1)
  const head = `${lineStart}${'0'.repeat(digits)}${String(line).padStart(digits, '0')}",${body}`
  const tail = '}}\n'
  const room = bytes - head.length - tail.length - ',"notes":""'.length + below(41) - 20
  return room > 0
    ? `${head},"notes":"${filler.repeat(Math.ceil(room / filler.length)).slice(0, room)}"${tail}`
    : `${head}${tail}`
}

const filler = 'policy=default;tenant=corp;zone=trusted;bypass=no;tunnel=ztunnel2;'
const hostWords = [
  'cdn',
  'api',
  'static',
  'edge',
  'login',
  'data',
  'img',
  'news',
  'shop',
  'mail',
  'app',
  'cloud',
  'media',
  'track',
]
const domains = [
  'example.com',
  'example.net',
  'example.org',
  'contoso.com',
  'fabrikam.com',
  'northwind.net',
  'adatum.com',
]
const pathWords = [
  'assets',
  'v1',
  'v2',
  'collect',
  'users',
  'search',
  'images',
  'js',
  'health',
  'events',
  'feed',
  'session',
]
const categories = [
  'Professional Services',
  'Web Search',
  'News',
  'Social Networking',
  'Advertising',
  'File Host',
  'Corporate Marketing',
]
const locations = ['Berlin HQ', 'Road Warrior', 'New York', 'Bangalore', 'Singapore DC']
const publicAddresses = ['203.0.113.7', '203.0.113.8', '198.51.100.23', '198.51.100.99', '192.0.2.41']
const agents = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0',
  'Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)',
]

/** Uniform in [0, 1), the same on every machine. */
function mulberry32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
