import type { ComponentConfig } from '../config/pipeline.ts'
import { registry } from '../registry.ts'

/** Where a source reads or a sink writes, in a few words: `s3_scan s3://logs/web/`, `http https://a.example.com/in`. */
export function placeOf(component: ComponentConfig): string {
  const { type } = component
  const all = [...registry.sources, ...registry.sinks]
  const place = all.find((definition) => definition.type === type)?.place(component)
  return place === undefined ? type : `${type} ${place}`
}
