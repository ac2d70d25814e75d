/**
 * What `match` and `replace` cost per GB of records, by pattern, length of the records and share of them in which it is found;
 * re2js on each record alone for comparison: `node bench/filters.ts` prints a table in Markdown.
 */
import { RE2JS } from 're2js'
import { type Block, blockOf, recordAt } from '../src/core/block.ts'
import { compilePattern, compileReplacement } from '../src/filters/pattern.ts'
import { ZscalerData } from '../test/servers/zscaler-data.ts'

const blockBytes = 2 ** 20
const planted = ' ERROR status=503 GET /api/ "action":"deny" 503 '
const patterns = [
  'ERROR',
  'status=5\\d\\d',
  '\\b(GET|POST) /api/',
  '"action":"(deny|drop)"',
  ' 5\\d\\d ',
  '(?i)error',
  '^\\{ "sourcetype"',
  '[a-z]+=\\d+',
]

/** Records of a size, `planted` written over the middle of a share of them. */
function blockWith(recordBytes: number, share: number): Block {
  const text = new ZscalerData({ objects: 1, linesPerObject: Math.ceil(blockBytes / 1530) }).text(0)
  const records: Buffer[] = []
  for (const line of text.toString('latin1').split('\n')) {
    for (let at = 0; at < line.length; at += recordBytes) {
      const record = Buffer.from(line.slice(at, at + recordBytes), 'latin1')
      const before = Math.floor(records.length * share)
      const isPlanted = Math.floor((records.length + 1) * share) > before && record.length > planted.length
      if (isPlanted) record.write(planted, Math.floor((record.length - planted.length) / 2), 'latin1')
      records.push(record)
    }
  }
  return blockOf(records)
}

function cpuSecondsPerGb(bytes: number, once: () => void): number {
  for (let i = 0; i < 5; i += 1) once()
  const rates = Array.from({ length: 3 }, () => {
    const before = process.cpuUsage()
    let rounds = 0
    let used = 0
    while (used < 100_000) {
      once()
      rounds += 1
      const { user, system } = process.cpuUsage(before)
      used = user + system
    }
    return (used * 1000) / (bytes * rounds)
  })
  return Math.min(...rates)
}

const shares = [0.01, 0.5, 1]

function row(name: string, run: (block: Block) => () => void): string {
  const cells = [1500, 300].flatMap((recordBytes) =>
    shares.map((share) => {
      const block = blockWith(recordBytes, share)
      return cpuSecondsPerGb(block.data.length, run(block)).toFixed(2)
    }),
  )
  return `| ${name.replaceAll('|', '\\|')} | ${cells.join(' | ')} |`
}

if (import.meta.main) {
  console.log('CPU-s/GB, for records of 1500 and of 300 bytes, by share of records that match\n')
  console.log('| | 1500 B, 1% | 50% | 100% | 300 B, 1% | 50% | 100% |\n|---|---|---|---|---|---|---|')
  for (const source of patterns) {
    const pattern = compilePattern(source)
    const mark = (block: Block) => () => pattern.mark(block, new Uint8Array(block.ends.length))
    console.log(row(`match \`${source}\``, mark))
  }
  for (const source of ['ERROR', 'status=(5\\d\\d)', '(?i)error']) {
    const pattern = compilePattern(source)
    const replacement = compileReplacement(source, '<$0>')
    const replace = (block: Block) => () => {
      const hits = new Uint8Array(block.ends.length)
      pattern.mark(block, hits)
      for (let i = 0; i < hits.length; i += 1) if (hits[i] === 1) replacement.apply(recordAt(block, i))
    }
    console.log(row(`replace \`${source}\``, replace))
  }
  for (const source of ['\\b(GET|POST) /api/', '(?i)error']) {
    const regex = RE2JS.compile(source)
    const test = (block: Block) => () => {
      for (let i = 0; i < block.ends.length; i += 1) regex.test(recordAt(block, i))
    }
    console.log(row(`re2js \`${source}\``, test))
  }
}
