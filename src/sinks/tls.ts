/** TLS towards a receiver: the keys of the configuration, and what Node needs of them. */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import * as z from 'zod'
import { StreamError } from '../core/errors.ts'

export const tlsSchema = z.strictObject({
  ca_file: z
    .string()
    .optional()
    .meta({ description: 'PEM file of the authorities to trust instead of the system ones.' }),
  cert_file: z.string().optional().meta({ description: 'PEM file of the client certificate.' }),
  key_file: z.string().optional().meta({ description: 'PEM file of the client key.' }),
  insecure_skip_verify: z
    .boolean()
    .default(false)
    .meta({ description: 'Accept any server certificate. For tests only.' }),
})
export type TlsConfig = z.output<typeof tlsSchema>

export interface TlsOptions {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly rejectUnauthorized: boolean
}

/** Options of `tls.connect`. Throws config.invalid if a file cannot be read or is no certificate or key. */
export function tlsOptions({ ca_file, cert_file, key_file, insecure_skip_verify }: TlsConfig): TlsOptions {
  const files = {
    ...(ca_file === undefined ? {} : { ca: pem(ca_file, 'tls.ca_file') }),
    ...(cert_file === undefined ? {} : { cert: pem(cert_file, 'tls.cert_file') }),
    ...(key_file === undefined ? {} : { key: pem(key_file, 'tls.key_file') }),
  }
  try {
    createSecureContext(files)
  } catch (error) {
    throw new StreamError('config.invalid', 'the tls files are no usable certificate and key', { cause: error })
  }
  return { ...files, rejectUnauthorized: !insecure_skip_verify }
}

function pem(path: string, field: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new StreamError('config.invalid', `cannot read ${field} ${path}`, { cause: error })
  }
}
