/** Reads of a PromQL expression what it asks for. Not a parser: promtool and Prometheus say whether it is one. */
import { type KnownMetric, knownMetrics } from './metric-names.ts'

export interface Selector {
  readonly metric: string
  /** Labels that it is matched by. */
  readonly labels: readonly string[]
  /** Function whose argument it is, if it is a range: `rate`, `increase`, … */
  readonly over: string | undefined
}

const token = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_:][\w:]*|\d[\w.]*|\[[^\]]*\]|[{}(),]|\S/g
const word = /^[A-Za-z_:]/
const groupings = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])
const operators = new Set(['and', 'or', 'unless', 'bool', 'offset'])

export function selectorsOf(expression: string): {
  readonly selectors: readonly Selector[]
  /** Labels that results are grouped or matched by. */
  readonly grouped: readonly string[]
} {
  const tokens: readonly string[] = expression.match(token) ?? []
  const selectors: Selector[] = []
  const grouped: string[] = []
  for (let i = 0; i < tokens.length; i += 1) {
    const text = tokens[i] as string
    if (!word.test(text) || operators.has(text)) continue
    if (groupings.has(text)) {
      const end = tokens.indexOf(')', i)
      grouped.push(...tokens.slice(i + 2, end).filter((label) => label !== ','))
      i = end
      continue
    }
    const next = tokens[i + 1]
    // A function, or an aggregation, whose grouping may stand before its argument.
    if (next === '(' || (next !== undefined && groupings.has(next))) continue
    const before = i
    const labels: string[] = []
    if (next === '{') {
      const end = tokens.indexOf('}', i)
      labels.push(...tokens.slice(i + 2, end).filter((label, at, all) => word.test(label) && all[at - 1] !== '='))
      i = end
    }
    const over = tokens[i + 1]?.startsWith('[') ? tokens[before - 2] : undefined
    selectors.push({ metric: text, labels, over })
  }
  return { selectors, grouped }
}

const ofCounters = new Set(['rate', 'irate', 'increase', 'resets'])
const ofGauges = new Set(['delta', 'idelta', 'deriv', 'predict_linear'])

/** What in the expression no series of the program can answer: a line for each fault. */
export function faultsOf(expression: string): string[] {
  const { selectors, grouped } = selectorsOf(expression)
  const faults: string[] = selectors.length === 0 ? ['asks for no metric'] : []
  const there = new Set<string>()
  for (const { metric, labels, over } of selectors) {
    const found = find(metric)
    if (!found) {
      faults.push(`there is no metric ${metric}`)
      continue
    }
    for (const label of found.labels) there.add(label)
    faults.push(...labels.filter((label) => !found.labels.has(label)).map((label) => `${metric} has no label ${label}`))
    if (over === undefined) continue
    if (ofCounters.has(over) && found.kind === 'gauge') faults.push(`${over} of ${metric}, which is a gauge`)
    if (ofGauges.has(over) && found.kind !== 'gauge') faults.push(`${over} of ${metric}, which is no gauge`)
  }
  if (faults.length > 0) return faults
  return grouped.filter((label) => !there.has(label)).map((label) => `no series has the label ${label}`)
}

function find(metric: string): KnownMetric | undefined {
  const part = /^(.+)_(?:bucket|sum|count)$/.exec(metric)
  const whole = part && knownMetrics.get(part[1] as string)
  if (whole?.kind === 'histogram') return whole
  const found = knownMetrics.get(metric)
  // By its name alone a histogram has no samples.
  return found?.kind === 'histogram' ? undefined : found
}
