/**
 * Reads the Prometheus text format 0.0.4, as strictly as the format is written down: what a scrape would refuse throws.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details
 */

export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Sample[]
}
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const metricName = /^[A-Za-z_:][\w:]*$/

/** Families by name, in their order. */
export function parsePrometheus(text: string): Map<string, Family> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line must end with a line feed')
  const families = new Map<string, Family>()
  const helps = new Map<string, string>()
  const seen = new Set<string>()
  let current = ''
  for (const line of text.split('\n').slice(0, -1)) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/s.exec(line)
    if (comment) {
      const [, what, name = '', rest = ''] = comment
      if (!metricName.test(name)) throw new Error(`no metric name: ${line}`)
      if (families.has(name)) throw new Error(`${name}: ${what} again or after its samples`)
      if (what === 'HELP') {
        if (helps.has(name)) throw new Error(`${name}: HELP again`)
        helps.set(name, unescaped(rest, /\\([\\n])/g))
      } else {
        if (!/^(counter|gauge|histogram|summary|untyped)$/.test(rest)) throw new Error(`no type: ${line}`)
        families.set(name, { type: rest, help: helps.get(name) ?? '', samples: [] })
        current = name
      }
      continue
    }
    const sample = parseSample(line)
    const family = families.get(current)
    if (!family || !belongs(sample.name, current, family.type)) throw new Error(`stands outside of its family: ${line}`)
    const id = `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`
    if (seen.has(id)) throw new Error(`there twice: ${line}`)
    seen.add(id)
    family.samples.push(sample)
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family)
  return families
}

function belongs(name: string, family: string, type: string): boolean {
  return type === 'histogram' ? ['_bucket', '_sum', '_count'].some((end) => name === family + end) : name === family
}

function parseSample(line: string): Sample {
  const match = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/s.exec(line)
  const [, name = '', inner = '', number = ''] = match ?? []
  if (!metricName.test(name)) throw new Error(`no sample: ${line}`)
  const labels: Record<string, string> = {}
  const pattern = /([A-Za-z_]\w*)="((?:[^"\\]|\\[\\"n])*)"(?:,|$)/gsy
  while (pattern.lastIndex < inner.length) {
    const [, label = '', value = ''] = pattern.exec(inner) ?? []
    if (label === '') throw new Error(`bad labels: ${line}`)
    if (label in labels) throw new Error(`label ${label} twice: ${line}`)
    labels[label] = unescaped(value, /\\([\\"n])/g)
  }
  const value = number === '+Inf' ? Infinity : number === '-Inf' ? -Infinity : Number(number)
  if (Number.isNaN(value) && number !== 'NaN') throw new Error(`no number: ${line}`)
  return { name, labels, value }
}

function unescaped(text: string, pattern: RegExp): string {
  return text.replaceAll(pattern, (_, character: string) => (character === 'n' ? '\n' : character))
}

/** Buckets grow with their bounds, and the last one has everything. */
function checkHistogram(name: string, { samples }: Family): void {
  const below = new Map<string, { bound: number; count: number }>()
  for (const sample of samples) {
    const { le, ...labels } = sample.labels
    const id = JSON.stringify(Object.entries(labels).sort())
    const last = below.get(id)
    if (sample.name === `${name}_bucket`) {
      const bound = le === '+Inf' ? Infinity : Number(le)
      if (last && (bound <= last.bound || sample.value < last.count)) throw new Error(`${name}: buckets out of order`)
      below.set(id, { bound, count: sample.value })
    } else if (sample.name === `${name}_count` && (last?.bound !== Infinity || last.count !== sample.value)) {
      throw new Error(`${name}: the last bucket is not the count`)
    }
  }
}
