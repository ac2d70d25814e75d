/** How much there was to worry about, whatever of it was written. */
import type { MetricSpec } from '../core/component.ts'

export const logMetrics = {
  log_messages_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Warnings and errors, those that were held back because they repeat included.',
    labels: ['level'],
  },
} as const satisfies Record<string, MetricSpec>
