import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { faultsOf } from './promql.ts'

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string }
}
interface Trial {
  readonly name: string
  readonly promql_expr_test: ReadonlyArray<{ readonly expr: string; readonly exp_samples: readonly unknown[] }>
}

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const { groups } = parse(read('deploy/prometheus/alerts.yaml')) as {
  readonly groups: ReadonlyArray<{ readonly name: string; readonly rules: readonly Rule[] }>
}
const rules = groups.flatMap((group) => group.rules)

test('every metric and label that an alert asks for exists', () => {
  assert.ok(rules.length > 20)
  assert.deepEqual(
    rules.flatMap(({ alert, expr }) => faultsOf(expr).map((fault) => `${alert}: ${fault}`)),
    [],
  )
})

test('every alert has a severity, says what happened and what to do, and has a name of its own', () => {
  for (const { alert, labels, annotations } of rules) {
    assert.match(alert, /^S3Streamer[A-Z]\w+$/)
    assert.match(labels.severity, /^(critical|warning|info)$/, alert)
    assert.match(annotations.summary, /\w{3}[^.]*$/, alert)
    assert.match(annotations.description, /\. .+\.$/s, `${alert}: two sentences at least, the cause and what to do`)
  }
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
})

test('every alert leads to a chapter of the documentation that exists', () => {
  const headings = new Set(
    [...read('docs/troubleshooting.md').matchAll(/^#+ (.+)$|<a (?:id|name)="([^"]+)">/gm)].map(
      ([, heading, id]) => id ?? anchor(heading as string),
    ),
  )
  const missing = rules.flatMap(({ alert, annotations }) => {
    const [, wanted = ''] = /^docs\/troubleshooting\.md#([a-z-]+)$/.exec(annotations.runbook) ?? []
    return headings.has(wanted) ? [] : [`${alert}: ${annotations.runbook}`]
  })
  assert.deepEqual(missing, [])
})

/** As it is made from a heading by those who show Markdown. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
}

test('every alert has a trial in which it does not fire too early, fires, and ends', () => {
  const { tests } = parse(read('deploy/prometheus/alerts.test.yaml')) as { readonly tests: readonly Trial[] }
  assert.deepEqual(
    tests.map(({ name }) => name.split(' ')[0]),
    rules.map(({ alert }) => alert),
  )
  for (const { name, promql_expr_test: looks } of tests) {
    const asked = `ALERTS{alertname="${name.split(' ')[0]}", alertstate="firing"}`
    assert.deepEqual([...new Set(looks.map(({ expr }) => expr))], [asked])
    assert.deepEqual(
      looks.map(({ exp_samples: expected }) => expected.length > 0),
      [false, true, false],
      name,
    )
  }
})

test('the example of a Prometheus keeps the labels of what was pushed, and names the job that the alerts ask for', () => {
  const { scrape_configs: jobs, rule_files: files } = parse(read('deploy/prometheus/prometheus.yaml')) as {
    readonly scrape_configs: ReadonlyArray<{ readonly job_name: string; readonly honor_labels?: boolean }>
    readonly rule_files: readonly string[]
  }
  assert.deepEqual(files, ['alerts.yaml'])
  assert.deepEqual(
    jobs.map(({ job_name: name, honor_labels: isHonored = false }) => [name, isHonored]),
    [
      ['s3-streamer', false],
      ['pushgateway', true],
    ],
  )
  assert.equal(rules.find(({ alert }) => alert === 'S3StreamerDown')?.expr, 'up{job="s3-streamer"} == 0')
})
