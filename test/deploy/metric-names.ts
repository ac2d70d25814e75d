/** What dashboards and alerts may ask for: the metrics of the program, and the few that Prometheus and the Pushgateway add. */
import type { MetricSpec } from '../../src/core/component.ts'
import { metricCatalogue } from '../../src/telemetry/metric-catalogue.ts'

export interface KnownMetric {
  readonly kind: MetricSpec['kind']
  readonly labels: ReadonlySet<string>
}

/** Given to every series by the scrape, or by the grouping key of a push. */
const ofTarget = ['job', 'instance']

const added: ReadonlyArray<readonly [string, KnownMetric]> = ['up', 'push_time_seconds'].map((name) => [
  name,
  { kind: 'gauge', labels: new Set(ofTarget) },
])

export const knownMetrics: ReadonlyMap<string, KnownMetric> = new Map([
  ...added,
  ...metricCatalogue.flatMap(({ isPerPipeline, tables }) =>
    tables.flatMap((table) => Object.entries(table).map((entry) => known(entry, isPerPipeline))),
  ),
])

function known(
  [name, { kind, labels = [] }]: readonly [string, MetricSpec],
  isPerPipeline: boolean,
): readonly [string, KnownMetric] {
  const all = [...ofTarget, ...(isPerPipeline ? ['pipeline'] : []), ...(kind === 'histogram' ? ['le'] : []), ...labels]
  return [name, { kind, labels: new Set(all) }]
}
