/** The keys of every source that reads files: which of them, when they are finished, and what becomes of them after. */
import * as z from 'zod'
import { duration } from '../config/fields.ts'
import { compileGlob } from '../formats/glob.ts'
import { mayBeEmpty, TemplateError, templateVerbs } from './file-template.ts'

const glob = z
  .string()
  .min(1)
  .superRefine((source, context) => {
    try {
      compileGlob(source)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      context.addIssue(`${JSON.stringify(source)} is no glob: ${why}`)
    }
  })
const globs = z.union([glob, z.array(glob)]).transform((given) => (typeof given === 'string' ? [given] : given))

const markerVerbs = ['name', 'stem', 'ext']

function templateProblem(template: string, known?: readonly string[]): string | undefined {
  try {
    templateVerbs(template, known)
    return undefined
  } catch (error) {
    if (error instanceof TemplateError) return error.message
    throw error
  }
}

export const fileFields = {
  path: z
    .string()
    .min(1)
    .refine((path) => !path.includes('\0'), 'must not contain NUL')
    .meta({
      description:
        'Folder to read, or one file. The last names may be globs (`/in/*.csv`, `/in/**/*.gz`): then the part before them is the folder. What has exactly this name is meant before any glob.',
    }),
  recursive: z.boolean().default(true).meta({ description: 'Read folders below it too.' }),
  include: globs.prefault([]).meta({
    description:
      'Globs, as in formats, for the path below the folder: only files that one of them matches are read. Without any, all are.',
  }),
  exclude: globs
    .prefault([])
    .meta({ description: 'Globs for the path below the folder of files that are not read, whatever `include` says.' }),
  follow_links: z
    .boolean()
    .default(false)
    .meta({ description: 'Follow symbolic links, to files and to folders; each folder is read once.' }),
  min_age: duration().prefault('0s').meta({
    description: 'Files that changed less than this ago, by our clock, are left for a later poll.',
  }),
  finished: z
    .strictObject({
      stable: z
        .int()
        .min(1)
        .default(1)
        .meta({ description: 'Polls that must find a file with the same size and time before it is read.' }),
      marker: z
        .string()
        .min(1)
        .superRefine((marker, context) => {
          const problem = templateProblem(marker, markerVerbs)
          if (problem !== undefined) context.addIssue(problem)
          if (marker.includes('/')) context.addIssue('must be a name: a marker stands in the folder of its file')
          // A name made of nothing but the file's own would make every file a marker.
          if (marker.replaceAll(/\{\w*\}/g, '') === '') context.addIssue('must differ from the name of the file')
        })
        .optional()
        .meta({
          description:
            'Name of a file that says that another is finished: `{name}.done` for each, or `_SUCCESS` for all of a folder. `{stem}` is the name without its extension `{ext}`. Markers themselves are not read.',
        }),
      temporary: globs.prefault([]).meta({
        description: 'Globs of names that files have while they are being written, such as `*.part`.',
      }),
    })
    .prefault({})
    .meta({ description: 'How a file that is finished is told from one that is still being written.' }),
  poll_interval: duration({ min: '1ms' })
    .prefault('60s')
    .meta({ description: 'Time between the starts of two polls.' }),
  after: z.enum(['none', 'delete', 'move']).default('none').meta({
    description: 'What becomes of a file when the ledger has written down that all of it arrived.',
  }),
  move_to: z
    .string()
    .min(1)
    .superRefine((template, context) => {
      const problem = templateProblem(template)
      if (problem !== undefined) context.addIssue(problem)
      if (template.split('/').some((name) => name === '..')) context.addIssue('must not contain ..')
      // Without a name in it, it is a folder, and gets one.
      const last = template.slice(template.lastIndexOf('/') + 1)
      if (/\{(path|name|stem)\}/.test(template) && mayBeEmpty(last))
        context.addIssue('must end with a name: {dir} and {ext} may be empty')
    })
    .optional()
    .meta({
      description:
        'For `after: move`: where to, absolute or below the folder; of `{path}` `{dir}` `{name}` `{stem}` `{ext}` and of the time of the file (UTC) `{date}` `{yyyy}` `{MM}` `{dd}` `{HH}` `{mm}` `{ss}`. Without a name in it, it is a folder for `{path}`. What lies there is not read.',
    }),
  workers: z.int().min(1).default(16).meta({ description: 'Files read at once.' }),
}

const shape = z.strictObject(fileFields)
export type FileConfig = z.output<typeof shape>

/** What one key alone does not show. */
export function refineFiles(
  { after, move_to }: Pick<FileConfig, 'after' | 'move_to'>,
  context: z.core.$RefinementCtx,
): void {
  const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
  if (after === 'move' && move_to === undefined) issue('move_to', 'is missing: after: move needs to know where to')
  if (after !== 'move' && move_to !== undefined) issue('after', 'must be move where move_to is set')
}
