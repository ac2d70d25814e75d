/** The configuration of one log format: an entry of `processing.log_formats` or `formats`. */
import { RE2JS } from 're2js'
import * as z from 'zod'
import { compileGlob } from './glob.ts'
import { layoutProblem } from './go-layout.ts'

/** Why a text is no RE2 expression, undefined if it is one. */
export function regexProblem(source: string): string | undefined {
  try {
    RE2JS.compile(source)
    return undefined
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace('error parsing regexp: ', '')
    const hint = /\(\?<?[=!]|\\[1-9]/.test(source)
      ? ' (RE2 has no look-around and no back-references, so that it takes linear time)'
      : ''
    return `${reason}${hint}`
  }
}

const regex = () =>
  z
    .string()
    .min(1)
    .superRefine((source, context) => {
      const problem = regexProblem(source)
      if (problem !== undefined) context.addIssue(`${JSON.stringify(source)} is no RE2 expression: ${problem}`)
    })

const glob = z.string().superRefine((source, context) => {
  try {
    compileGlob(source)
  } catch (error) {
    context.addIssue(`${JSON.stringify(source)} is no glob: ${error instanceof Error ? error.message : String(error)}`)
  }
})

const timestampFormat = z.string().superRefine((source, context) => {
  if (source === 'unix' || source === 'unix_ms') return
  const problem = layoutProblem(source)
  if (problem !== undefined) {
    context.addIssue(`${JSON.stringify(source)} is not "unix", "unix_ms" or a Go time layout: ${problem}`)
  }
})

export const decoders = ['auto', 'lines', 'json', 'csv', 'w3c'] as const

export const formatSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .meta({
        description:
          'Name of the format. A format with the name of a built-in one takes its place. Where two have one name, `default_format` means the first.',
        examples: ['firewall'],
      }),
    filename_pattern: glob.meta({
      description:
        'Glob for object keys. `*` stays within a folder, `**` does not; `?`, `[a-z]`, `[!a-z]` and `{a,b}` work too. Without `/` it is matched against the base name, with `/` against the last parts of the key, with a leading `/` against the whole key.',
      examples: ['*.log.gz', 'slowquery/*.log*'],
    }),
    timestamp_regex: regex().meta({
      description:
        'RE2 expression that finds the timestamp; tried on the base name, then the whole key, then the first records. The first group that matched is the timestamp; without groups it is the whole match.',
      examples: ['^(\\d{10})_'],
    }),
    timestamp_format: timestampFormat.default('unix').meta({
      description:
        'How the timestamp is written: `unix` (seconds), `unix_ms`, or a Go time layout. Without a zone the time is UTC; without a year it is in the year of the object.',
      examples: ['unix', '2006-01-02T15:04:05Z07:00'],
    }),
    content_type: z
      .string()
      .regex(
        /^[\w.+-]+\/[\w.+-]+( *; *[\x21-\x7e ]+)?$/,
        'is no media type like "text/plain" or "application/x-ndjson"',
      )
      .default('text/plain')
      .meta({ description: 'Content-Type under which its records are sent.', examples: ['application/x-ndjson'] }),
    skip_header_lines: z.int().min(0).max(10_000).default(0).meta({
      description:
        'Lines at the start of each object that are no records. With the csv decoder the last of them names the fields.',
    }),
    field_separator: z
      .string()
      .regex(/^(?:[^\r\n"\\]|\\t)$/u, 'must be one character (a tab may be written \\t)')
      .optional()
      .meta({
        description: 'Character between the fields of a line. The csv decoder uses a comma without it.',
        examples: [',', '\t', ' '],
      }),
    field_names: z
      .array(z.string().min(1))
      .min(1)
      .superRefine((names, context) => {
        const twice = names.find((name, index) => names.indexOf(name) !== index)
        if (twice !== undefined) context.addIssue(`names ${JSON.stringify(twice)} twice`)
      })
      .optional()
      .meta({
        description:
          'Names of the fields of a delimited format, in order, for filters and sinks. Without it the header names them (the last header line, or `#Fields:` of W3C), or else their position: `field1`, `field2`.',
        examples: [['time', 'client', 'status']],
      }),
    decoder: z.enum(decoders).default('auto').meta({
      description:
        'How bytes become records. `auto` takes the elements of a JSON array or of a wrapper like `{"Records":[…]}`, and the lines of everything else.',
    }),
    multiline: z
      .strictObject({
        start: regex().meta({
          description:
            'RE2 expression. A line it matches starts a record; the lines up to the next such line belong to it.',
          examples: ['^# Time: '],
        }),
      })
      .optional()
      .meta({ description: 'Joins several lines into one record. For the decoders `auto` and `lines`.' }),
    records_path: z
      .string()
      .min(1)
      .optional()
      .meta({
        description:
          'Name of the array of records in the wrapping JSON object. For the decoders `auto` and `json`, which find it by themselves without it.',
        examples: ['Records'],
      }),
  })
  .superRefine((format, context) => {
    if (format.multiline !== undefined && format.decoder !== 'auto' && format.decoder !== 'lines') {
      context.addIssue({
        code: 'custom',
        path: ['multiline'],
        message: `does nothing with decoder "${format.decoder}": remove one of them`,
      })
    }
    if (format.records_path !== undefined && format.decoder !== 'auto' && format.decoder !== 'json') {
      context.addIssue({
        code: 'custom',
        path: ['records_path'],
        message: `does nothing with decoder "${format.decoder}": remove one of them`,
      })
    }
    if (format.field_names !== undefined && format.decoder === 'json') {
      context.addIssue({
        code: 'custom',
        path: ['field_names'],
        message: 'does nothing with decoder "json", whose records name their fields: remove one of them',
      })
    } else if (
      format.field_names !== undefined &&
      format.field_separator === undefined &&
      format.decoder !== 'csv' &&
      format.decoder !== 'w3c'
    ) {
      context.addIssue({
        code: 'custom',
        path: ['field_names'],
        message: 'does nothing without field_separator: say what stands between the fields',
      })
    }
  })
