/** The `logging` section of the file. */
import * as z from 'zod'
import { size } from '../config/fields.ts'

export const logConfig = z
  .strictObject({
    level: z
      .enum(['debug', 'info', 'warn', 'warning', 'error'])
      .default('info')
      .transform((level) => (level === 'warning' ? 'warn' : level))
      .meta({ description: 'Least important messages that are logged.' }),
    format: z.enum(['json', 'text']).default('json').meta({ description: 'JSON lines, or text for people.' }),
    file: z
      .strictObject({
        path: z
          .string()
          .min(1)
          .meta({ description: 'The file; what is rotated out stands beside it, as `NAME.1`, `NAME.2`.' }),
        max_size: size({ min: '64KiB' })
          .prefault('100MiB')
          .meta({ description: 'It is rotated when it would grow larger.' }),
        max_files: z.int().min(1).max(1000).default(5).meta({ description: 'How many rotated files are kept.' }),
      })
      .optional()
      .meta({ description: 'Write the log to a file instead of standard output.' }),
  })
  .prefault({})
  .meta({ description: 'The log, on standard output unless `file` is given.' })
export type LogConfig = z.output<typeof logConfig>
