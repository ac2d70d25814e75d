/** Every component the program knows, in the order of the reference pages. */
import type { Registry } from './core/component.ts'
import { edgedeltaSink } from './sinks/edgedelta.ts'
import { httpSink } from './sinks/http.ts'
import { s3ScanSource } from './sources/s3-scan.ts'

export const registry: Registry = {
  sources: [s3ScanSource],
  sinks: [edgedeltaSink, httpSink],
}
