/** Syslog messages as a strict receiver reads them: the grammar of RFC 5424 6, RFC 3164 4.1, and the framings of RFC 6587 3.4. */

export interface SyslogMessage {
  readonly facility: number
  readonly severity: number
  /** As it stands in the message. */
  readonly timestamp: string
  readonly hostname: string
  /** APP-NAME, or TAG. */
  readonly appName: string
  readonly procId: string
  readonly msgId: string
  /** SD-ID -> parameters, unescaped. */
  readonly structuredData: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly hasBom: boolean
  readonly content: Buffer
  /** All of it, without the framing. */
  readonly bytes: Buffer
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const header5424 =
  /^<(\d|[1-9]\d{1,2})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) /
const header3164 =
  /^<(\d|[1-9]\d{1,2})>((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123]\d \d\d:\d\d:\d\d) ([!-~]+) ([!-Z\\^-~]{1,32}?)(?:\[([!-~]+)\])?: /

/** Throws an Error that says what is against the RFC. */
export function parse5424(bytes: Buffer): SyslogMessage {
  const match = header5424.exec(bytes.toString('latin1'))
  if (!match) throw new Error(`no RFC 5424 header: ${JSON.stringify(bytes.toString('latin1', 0, 120))}`)
  const [start, priority = '', timestamp = '', hostname = '', appName = '', procId = '', msgId = ''] = match
  if (timestamp !== '-' && Number.isNaN(Date.parse(timestamp))) throw new Error(`no such time: ${timestamp}`)
  const { structuredData, end } = parseStructuredData(bytes, start.length)
  if (end < bytes.length && bytes[end] !== 0x20) throw new Error('no space behind the structured data')
  const rest = bytes.subarray(end + 1)
  const hasBom = rest.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf]))
  if (hasBom) utf8.decode(rest)
  const content = hasBom ? rest.subarray(3) : rest
  return {
    ...parsePriority(priority),
    ...{ timestamp, hostname, appName, procId, msgId, structuredData, hasBom, content, bytes },
  }
}

export function parse3164(bytes: Buffer): SyslogMessage {
  const match = header3164.exec(bytes.toString('latin1'))
  if (!match) throw new Error(`no RFC 3164 header: ${JSON.stringify(bytes.toString('latin1', 0, 120))}`)
  if (bytes.some((byte) => (byte < 0x20 && byte !== 9) || byte === 0x7f)) throw new Error('control character')
  const [start, priority = '', timestamp = '', hostname = '', appName = '', procId = '-'] = match
  return {
    ...parsePriority(priority),
    ...{ timestamp, hostname, appName, procId, msgId: '-', structuredData: new Map(), hasBom: false },
    content: bytes.subarray(start.length),
    bytes,
  }
}

function parsePriority(text: string): { readonly facility: number; readonly severity: number } {
  const priority = Number(text)
  if (priority > 191) throw new Error(`PRI ${text} is above 191`)
  return { facility: priority >>> 3, severity: priority & 7 }
}

/** RFC 5424 6.3: `-`, or elements without a space between them. */
function parseStructuredData(
  bytes: Buffer,
  from: number,
): { readonly structuredData: Map<string, Map<string, string>>; readonly end: number } {
  const structuredData = new Map<string, Map<string, string>>()
  if (bytes[from] === 0x2d) return { structuredData, end: from + 1 }
  let at = from
  const name = (): string => {
    const start = at
    // SD-NAME: printable but `=`, space, `]`, `"`.
    while (at < bytes.length && /[!#-<>-\\^-~]/.test(String.fromCharCode(bytes[at] as number))) at += 1
    if (at === start || at - start > 32) throw new Error(`bad SD-NAME at ${start}`)
    return bytes.toString('latin1', start, at)
  }
  const expect = (character: string) => {
    if (bytes[at] !== character.charCodeAt(0)) throw new Error(`no ${character} at ${at} of the structured data`)
    at += 1
  }
  while (bytes[at] === 0x5b) {
    at += 1
    const id = name()
    if (structuredData.has(id)) throw new Error(`SD-ID ${id} twice`)
    if (!id.includes('@')) throw new Error(`SD-ID ${id} is not registered`)
    const params = new Map<string, string>()
    while (bytes[at] === 0x20) {
      at += 1
      const key = name()
      expect('=')
      expect('"')
      const value: number[] = []
      for (; bytes[at] !== 0x22; at += 1) {
        if (at >= bytes.length) throw new Error(`PARAM-VALUE of ${key} does not end`)
        if (bytes[at] === 0x5d) throw new Error(`] not escaped in ${key}`)
        if (bytes[at] === 0x5c && [0x22, 0x5c, 0x5d].includes(bytes[at + 1] as number)) at += 1
        value.push(bytes[at] as number)
      }
      at += 1
      params.set(key, utf8.decode(Buffer.from(value)))
    }
    expect(']')
    structuredData.set(id, params)
  }
  if (structuredData.size === 0) throw new Error('neither - nor an SD-ELEMENT')
  return { structuredData, end: at }
}

/** Takes bytes as they come and gives whole frames. */
export class FrameReader {
  readonly #framing: 'octet_counting' | 'lf'
  #rest = Buffer.alloc(0)

  constructor(framing: 'octet_counting' | 'lf') {
    this.#framing = framing
  }

  /** True if a frame has begun and not ended. */
  get isInside(): boolean {
    return this.#rest.length > 0
  }

  /** Throws an Error where no frame can begin: from there on nothing can be told apart. */
  take(chunk: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const frames: Buffer[] = []
    for (let frame = this.#next(); frame; frame = this.#next()) frames.push(frame)
    return frames
  }

  #next(): Buffer | undefined {
    const rest = this.#rest
    if (this.#framing === 'lf') {
      const end = rest.indexOf(0x0a)
      if (end < 0) return undefined
      this.#rest = rest.subarray(end + 1)
      return rest.subarray(0, end)
    }
    if (rest.length === 0) return undefined
    const match = /^([1-9]\d{0,8})( ?)/.exec(rest.toString('latin1', 0, 10))
    if (!match) throw new Error(`no MSG-LEN: ${JSON.stringify(rest.toString('latin1', 0, 40))}`)
    const [start, length = '', space] = match
    if (space === '') {
      if (rest.length > length.length) throw new Error(`no space behind MSG-LEN ${length}`)
      return undefined
    }
    const end = start.length + Number(length)
    if (rest.length < end) return undefined
    this.#rest = rest.subarray(end)
    return rest.subarray(start.length, end)
  }
}
