import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Dashboard, dashboards, type Panel, panelsOf, queriesOf } from './grafana.ts'
import { faultsOf } from './promql.ts'

const own = (dashboard: Dashboard) => JSON.stringify(dashboard)
const named = (uid: string) => dashboards.find((dashboard) => dashboard.uid === uid) as Dashboard

test('both dashboards are there, the one for SFTP under the uid of the former streamer', () => {
  assert.deepEqual(
    dashboards.map(({ uid, title }) => `${uid}: ${title}`),
    ['s3-streamer: s3-streamer', 'sftp-s3-streaming: SFTP transfers'],
  )
})

test('every metric and label that a panel, variable or annotation asks for exists', () => {
  const faults: string[] = []
  for (const dashboard of dashboards) {
    const annotations = dashboard.annotations.list.flatMap(({ name, expr }) =>
      expr === undefined ? [] : [{ place: `${dashboard.title} / ${name}`, expr }],
    )
    for (const { place, expr } of [...queriesOf(dashboard), ...annotations])
      faults.push(...faultsOf(expr).map((fault) => `${place}: ${fault}`))
    for (const { name, type, definition = '' } of dashboard.templating.list) {
      if (type === 'datasource') continue
      const [, expr = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? []
      faults.push(...faultsOf(`sum by (${label}) (${expr})`).map((fault) => `${dashboard.title} / $${name}: ${fault}`))
    }
  }
  assert.deepEqual(faults, [])
})

test('a dashboard works in any Grafana: the data source is chosen, nothing has an id of another installation', () => {
  for (const dashboard of dashboards) {
    assert.equal(dashboard.id, null)
    assert.ok(dashboard.schemaVersion >= 38)
    const sources = new Set(
      [...own(dashboard).matchAll(/"datasource":\{"type":"(\w+)","uid":"([^"]+)"\}/g)].map(([, ...of]) => of.join(' ')),
    )
    assert.deepEqual([...sources].sort(), ['grafana -- Grafana --', 'prometheus ${datasource}'])
    for (const panel of panelsOf(dashboard)) {
      if (panel.type !== 'text') assert.ok(panel.datasource, `${panel.title} has a data source`)
      for (const target of panel.targets ?? []) assert.ok(target.datasource, `${panel.title} has a data source`)
    }
  }
})

test('queries go by the variables at the top, and each variable is used', () => {
  for (const dashboard of dashboards) {
    const variables = dashboard.templating.list.map(({ name }) => name)
    assert.deepEqual(variables, ['datasource', 'job', 'instance', 'pipeline'])
    const builtIn = ['__rate_interval', '__range']
    for (const { place, expr } of queriesOf(dashboard)) {
      const used = [...expr.matchAll(/\$\{?(\w+)/g)].map(([, name]) => name as string)
      assert.ok(used.includes('job') && used.includes('instance'), place)
      for (const name of used) assert.ok(variables.includes(name) || builtIn.includes(name), `${place}: $${name}`)
      // A window of its own is too short for one scrape interval, and too long for another.
      assert.doesNotMatch(expr, /\[\d/, place)
    }
    for (const name of variables) assert.match(own(dashboard), new RegExp(`\\$\\{?${name}\\b`), `${name} is used`)
  }
})

test('every panel says what it shows, has a unit and a place of its own', () => {
  for (const dashboard of dashboards) {
    const all = panelsOf(dashboard)
    const titles = all.map(({ title }) => title)
    const placed = [...new Set([...dashboard.panels, ...all])]
    for (const { title, type, description, fieldConfig, targets, gridPos } of all) {
      assert.match(description ?? '', /\w.*\.$/, `${title} is described`)
      if (type !== 'text') assert.ok(targets && targets.length > 0, `${title} asks for something`)
      if (!['text', 'heatmap', 'state-timeline'].includes(type))
        assert.ok(fieldConfig?.defaults.unit, `${title} has a unit`)
      assert.ok(gridPos.x >= 0 && gridPos.x + gridPos.w <= 24, `${title} is within the width`)
    }
    assert.equal(new Set(placed.map(({ id }) => id)).size, placed.length, 'ids')
    const known = new Map<string, number>()
    for (const title of titles) known.set(title, (known.get(title) ?? 0) + 1)
    assert.deepEqual(
      [...known].filter(([, count]) => count > 1),
      [],
      'titles',
    )
    for (const together of [dashboard.panels, ...dashboard.panels.map(({ panels = [] }) => panels)])
      assert.deepEqual(overlaps(together), [])
  }
})

/** Pairs of panels that lie on one another. */
function overlaps(panels: readonly Panel[]): string[] {
  return panels.flatMap((one, i) =>
    panels.slice(i + 1).flatMap((other) => {
      const [a, b] = [one.gridPos, other.gridPos]
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
      return apart ? [] : [`${one.title} and ${other.title}`]
    }),
  )
}

test('C4: the eight panels of the former SFTP dashboard are there with the right units, and progress is no alarm', () => {
  const panels = panelsOf(named('sftp-s3-streaming')).slice(0, 8)
  const shown = panels.map(({ type, title, fieldConfig }) => [type, title, fieldConfig?.defaults.unit])
  assert.deepEqual(shown, [
    ['stat', 'Memory', 'mbytes'],
    ['stat', 'Written to disk', 'mbytes'],
    ['stat', 'Throughput', 'MiBs'],
    ['stat', 'Parts', 'short'],
    ['timeseries', 'Memory and bytes written', 'mbytes'],
    ['timeseries', 'Throughput lately', 'binBps'],
    ['timeseries', 'Transferred in this run', 'bytes'],
    ['text', 'How to read this', undefined],
  ])
  const names = new Set(JSON.stringify(panels).match(/\bsftp_s3_[a-z_]+[a-z]/g))
  assert.equal(names.size, 5)
  for (const title of ['Throughput', 'Parts']) {
    const thresholds = panels.find((panel) => panel.title === title)?.fieldConfig?.defaults.thresholds
    assert.deepEqual(thresholds, { mode: 'absolute', steps: [{ color: 'blue', value: null }] }, title)
  }
  const text = panels.at(-1)?.options?.content ?? ''
  assert.ok(text.length > 300)
})
