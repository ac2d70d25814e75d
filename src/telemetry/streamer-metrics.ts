/** What is known of the process as a whole. */
import type { MetricSpec } from '../core/component.ts'

export const pipelineUpMetrics = {
  pipeline_up: {
    kind: 'gauge',
    unit: '1',
    help: '1 while the pipeline runs; 0 while it starts or stops, and after it failed.',
  },
} as const satisfies Record<string, MetricSpec>

export const reloadMetrics = {
  config_reloads_total: {
    kind: 'counter',
    unit: '{reload}',
    help: 'Times that the configuration was read again, by outcome: ok, refused.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, MetricSpec>

export const lastReloadMetrics = {
  config_last_reload_success: {
    kind: 'gauge',
    unit: '1',
    help: '1 if the configuration that was read last is in force, 0 if it was refused.',
  },
} as const satisfies Record<string, MetricSpec>
