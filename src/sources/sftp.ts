/** `sftp`: files of an SFTP server. */
import * as z from 'zod'
import type { SourceDefinition } from '../core/component.ts'
import { fileFields, refineFiles } from './file-config.ts'
import { fileNotes } from './file-notes.ts'
import type { FileObject } from './file-object.ts'
import { FileSource } from './file-source.ts'
import { sftpFields, sftpPlace } from './sftp-config.ts'

export const sftpConfig = z
  .strictObject({ type: z.literal('sftp'), ...sftpFields, ...fileFields })
  .superRefine(refineFiles)
export type SftpSourceConfig = z.output<typeof sftpConfig>

export const sftpSource: SourceDefinition<typeof sftpConfig, FileObject, Promise<FileSource>> = {
  type: 'sftp',
  summary: 'Reads the files of an SFTP server, each once.',
  notes: `A relative \`path\` is one from the folder in which the user arrives.

**Host key**: \`known_hosts_file\` or \`host_key_fingerprint\` must say which key the server has; without either, or with another key, no connection is made, and the message has the line or the fingerprint to add.
**Login**: private key, agent, password and keyboard-interactive (with the password), in this order, as far as they are set.

**Reading**: \`sessions\` connections are shared by all files; of each part that is read, \`read_requests\` requests are under way at once, as large as the server takes them. A server that refuses several at
once gets one at a time. A connection that breaks or falls silent is made anew, and reading goes on where it was.

${fileNotes}

**Times** have whole seconds in this protocol: a file that is written again within a second, with the same size, looks the same. \`min_age\` keeps clear of that.

**Permissions**: to read files and to list and enter folders; to write to the folders for \`after: delete\` and \`move\`. Servers move files only within one disk.`,
  config: sftpConfig,
  place: (config) => `${sftpPlace(config)}${config.path.startsWith('/') ? '' : '/~/'}${config.path}`,
  examples: [
    {
      title: 'CSV files of a partner, deleted there when they have arrived',
      config: {
        type: 'sftp',
        host: 'sftp.example.com',
        username: 'acme',
        private_key_file: '~/.ssh/id_ed25519',
        known_hosts_file: '~/.ssh/known_hosts',
        path: '/outbox/*.csv',
        min_age: '1m',
        after: 'delete',
      },
    },
    {
      title: 'A tree of logs, with a password and a pinned host key',
      config: {
        type: 'sftp',
        host: 'logs.example.com',
        port: 2222,
        username: 'reader',
        password: '${SFTP_PASSWORD}',
        host_key_fingerprint: 'SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s',
        path: '/var/log/app',
        include: '**/*.gz',
        exclude: 'tmp/**',
      },
    },
  ],
  // Loaded only where it is used: SSH takes memory.
  create: async (config, context) => {
    const { SftpOutside } = await import('./sftp-outside.ts')
    const outside = new SftpOutside(config, context)
    return new FileSource(config, context, outside.store, outside)
  },
}
