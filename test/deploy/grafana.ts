/** The dashboards of deploy/grafana, as far as tests look into them. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Place {
  readonly h: number
  readonly w: number
  readonly x: number
  readonly y: number
}

export interface Target {
  readonly refId: string
  readonly expr: string
  readonly datasource: unknown
  readonly instant: boolean
  readonly format: string
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: unknown
  readonly gridPos: Place
  readonly collapsed?: boolean
  readonly panels?: readonly Panel[]
  readonly targets?: readonly Target[]
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string; readonly thresholds?: unknown } }
  readonly options?: { readonly content?: string }
}

export interface Variable {
  readonly name: string
  readonly type: string
  readonly definition?: string
}

export interface Dashboard {
  readonly file: string
  readonly id: null
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly Variable[] }
  readonly annotations: { readonly list: ReadonlyArray<{ readonly name: string; readonly expr?: string }> }
}

const folder = new URL('../../deploy/grafana/', import.meta.url)

export const dashboards: readonly Dashboard[] = readdirSync(fileURLToPath(folder))
  .filter((file) => file.endsWith('.json'))
  .map((file) => ({ file, ...(JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Omit<Dashboard, 'file'>) }))

/** All panels that show something, those in folded rows too. */
export function panelsOf({ panels }: Dashboard): readonly Panel[] {
  return panels.flatMap((panel) => (panel.type === 'row' ? (panel.panels ?? []) : [panel]))
}

/** Everything that a dashboard asks Prometheus for, with its place for messages. */
export function queriesOf(
  dashboard: Dashboard,
): ReadonlyArray<{ readonly place: string; readonly expr: string; readonly instant: boolean }> {
  return panelsOf(dashboard).flatMap(({ title, targets = [] }) =>
    targets.map(({ refId, expr, instant }) => ({ place: `${dashboard.title} / ${title} / ${refId}`, expr, instant })),
  )
}
