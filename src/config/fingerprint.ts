/** Whether a part of the configuration is still the same after the file was read again. */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { Secret } from './fields.ts'
import { homePath } from './home-path.ts'

/**
 * The same for the same value, in any order of keys. Secrets count, and so do the files that keys like `ca_file` name: a
 * certificate that was renewed is a change. Only a hash, so that no secret is kept.
 */
export function fingerprint(value: unknown): string {
  return createHash('sha256').update(text(value, '')).digest('base64')
}

function text(value: unknown, key: string): string {
  if (value instanceof Secret) return `secret ${JSON.stringify(value.reveal())}`
  if (Array.isArray(value)) return `[${value.map((item) => text(item, key)).join()}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    return `{${entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, item]) => `${JSON.stringify(name)}:${text(item, name)}`)
      .join()}}`
  }
  const plain = JSON.stringify(value) ?? 'undefined'
  return key.endsWith('_file') && typeof value === 'string' ? `${plain}@${changed(value)}` : plain
}

/** When a file was changed, and how large it is; empty if there is none. */
function changed(path: string): string {
  const facts = statSync(homePath(path), { throwIfNoEntry: false })
  return facts === undefined ? '' : `${facts.mtimeMs}-${facts.size}-${facts.ino}`
}
