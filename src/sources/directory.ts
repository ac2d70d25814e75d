/** `directory`: files of this machine. */
import * as z from 'zod'
import type { SourceDefinition } from '../core/component.ts'
import { fileFields, refineFiles } from './file-config.ts'
import { fileNotes } from './file-notes.ts'
import type { FileObject } from './file-object.ts'
import { FileSource } from './file-source.ts'
import { LocalStore } from './local-store.ts'

export const directoryConfig = z.strictObject({ type: z.literal('directory'), ...fileFields }).superRefine(refineFiles)
export type DirectoryConfig = z.output<typeof directoryConfig>

export const directorySource: SourceDefinition<typeof directoryConfig, FileObject> = {
  type: 'directory',
  summary: 'Reads the files of a folder of this machine, each once.',
  notes: `A relative \`path\` is one from the folder in which the program was started.

${fileNotes}

**Moving** keeps the file as it is where the file system can give it a second name or another one; to another disk it is copied, under a name of its own until it is whole.

**Permissions**: to read files and to list and enter folders; to write to the folders for \`after: delete\` and \`move\`.`,
  config: directoryConfig,
  place: ({ path }) => path,
  examples: [
    {
      title: 'CSV files that a program drops, moved away when they have arrived',
      config: {
        type: 'directory',
        path: '/var/spool/export/*.csv',
        min_age: '30s',
        after: 'move',
        move_to: '/var/spool/exported/{date}',
      },
    },
    {
      title: 'A tree of compressed logs, each finished when its marker is there',
      config: {
        type: 'directory',
        path: '/data/logs',
        include: '**/*.gz',
        finished: { marker: '{name}.done' },
      },
    },
  ],
  create: (config, context) => new FileSource(config, context, new LocalStore()),
}
