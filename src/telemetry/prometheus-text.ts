/**
 * Metrics in the text format that Prometheus and its Pushgateway read, version 0.0.4.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
import { bucketBounds, type Series } from './meter.ts'

export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8'

/** All series, those of one name together as the format demands; empty if there are none. */
export function prometheusText(snapshot: readonly Series[]): string {
  const families = new Map<string, Series[]>()
  for (const series of snapshot) {
    const name = metricName(series.name)
    const family = families.get(name)
    if (family) family.push(series)
    else families.set(name, [series])
  }
  return [...families].map(([name, family]) => familyText(name, family)).join('')
}

function familyText(name: string, family: readonly Series[]): string {
  const { kind, help } = (family[0] as Series).spec
  const lines = [`# HELP ${name} ${help.replaceAll(/[\\\n]/g, escaped)}`, `# TYPE ${name} ${kind}`]
  for (const { labels, value, count, buckets } of family) {
    const own = Object.entries(labels).map(([label, text]) => labelText(label, text))
    if (kind !== 'histogram') {
      lines.push(sample(name, own, value))
      continue
    }
    let below = 0
    for (const [i, bound] of bucketBounds.entries()) {
      below += buckets[i] ?? 0
      lines.push(sample(`${name}_bucket`, [...own, labelText('le', numberText(bound))], below))
    }
    lines.push(sample(`${name}_bucket`, [...own, labelText('le', '+Inf')], count))
    lines.push(sample(`${name}_sum`, own, value), sample(`${name}_count`, own, count))
  }
  return `${lines.join('\n')}\n`
}

function sample(name: string, labels: readonly string[], value: number): string {
  return `${name}${labels.length === 0 ? '' : `{${labels.join(',')}}`} ${numberText(value)}`
}

function labelText(label: string, text: string): string {
  return `${labelName(label)}="${text.toWellFormed().replaceAll(/[\\\n"]/g, escaped)}"`
}

function escaped(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`
}

/** As Go's ParseFloat takes them. */
function numberText(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

/** Names that the data model of Prometheus allows: what it does not becomes `_`. */
function metricName(name: string): string {
  return withoutDigit(name.replaceAll(/[^\w:]/g, '_'))
}

function labelName(name: string): string {
  return withoutDigit(name.replaceAll(/\W/g, '_'))
}

function withoutDigit(name: string): string {
  return /^\d/.test(name) || name === '' ? `_${name}` : name
}
