/** The keys of a pipeline that say which records go on and what they look like; `shape.ts` does it. */
import * as z from 'zod'
import { regexProblem } from '../formats/schema.ts'
import { filterProblem } from './cel.ts'
import { replacementProblem } from './pattern.ts'

const regex = z
  .string()
  .min(1)
  .superRefine((source, context) => {
    const problem = regexProblem(source)
    if (problem !== undefined) context.addIssue(`${JSON.stringify(source)} is no RE2 expression: ${problem}`)
  })

const oneOrMore = z.union([regex, z.array(regex)]).transform((given) => (typeof given === 'string' ? [given] : given))

export const shapeFields = {
  match: oneOrMore.prefault([]).meta({
    description:
      'RE2 expression, or a list of them, looked for anywhere in the raw record: only records in which one is found go on.',
  }),
  exclude: oneOrMore.prefault([]).meta({
    description: 'RE2 expression, or a list of them: records in which one is found are dropped, whatever `match` says.',
  }),
  filter: z
    .string()
    .superRefine((source, context) => {
      const problem = filterProblem(source)
      if (problem === undefined) return
      context.addIssue(`line ${problem.line}, column ${problem.column} of the filter: ${problem.message}`)
    })
    .optional()
    .meta({
      description:
        'CEL expression over the fields of a record, and over `record`, `fields`, `bucket`, `key`, `format`, `timestamp`: only records for which it is true go on. See docs/filters.md.',
    }),
  on_error: z.enum(['keep', 'drop', 'quarantine']).default('keep').meta({
    description:
      'What becomes of a record on which `filter` errs (a field it has not, another type). A record that `redact` cannot read goes to quarantine even with `keep`.',
  }),
  replace: z
    .array(
      z
        .strictObject({
          pattern: regex.meta({ description: 'RE2 expression, looked for in the raw record.' }),
          with: z
            .string()
            .meta({ description: 'What every place it is found in becomes; `$1` or `$' + '{name}` is a group.' }),
        })
        .superRefine((one, context) => {
          if (regexProblem(one.pattern) !== undefined) return
          const problem = replacementProblem(one.pattern, one.with)
          if (problem !== undefined) context.addIssue({ code: 'custom', path: ['with'], message: problem })
        }),
    )
    .default([])
    .meta({ description: 'Replacements in the raw record, one after the other, after the filter.' }),
  redact: z.array(z.string().min(1)).default([]).meta({
    description: 'Fields (dotted paths in JSON) whose values become `[redacted]`, after the filter.',
  }),
  envelope: z.enum(['raw', 'json']).default('raw').meta({
    description:
      '`raw`: records as they are; `json`: each as a JSON object with `@timestamp` and `origin` (bucket, key, record number, format, host), and the fields of delimited records by name.',
  }),
}

const shapeSchema = z.strictObject(shapeFields)
export type ShapeConfig = z.output<typeof shapeSchema>
