/** The `health` and `console` sections of the file: one port for both, and for /metrics. */
import * as z from 'zod'
import { secret } from '../config/fields.ts'

/** Not one of Edge Delta's (8080, 8081, 4317), and not one that its neighbours take. */
export const defaultAddress = 'localhost:8090'

export const healthConfig = z
  .strictObject({
    enabled: z.boolean().optional().meta({
      description:
        'Serve health checks, `/metrics` and the console. Default: yes, but for `run --once`, which serves only if this is `true`.',
    }),
    address: z.string().optional().meta({
      description:
        'Address to listen on, `host:port` or `:port` (of every interface). Default: `localhost:8090`, or any free port if that one is taken; a port that is written here must be free.',
    }),
    path: z.string().default('/health').meta({ description: 'Path of the health check.' }),
  })
  .superRefine((health, context) => {
    if (health.address !== undefined && portOf(health.address) === undefined) {
      context.addIssue({ code: 'custom', path: ['address'], message: 'must be `:port` or `host:port`, like ":8090"' })
    }
    if (!health.path.startsWith('/')) {
      context.addIssue({ code: 'custom', path: ['path'], message: 'must begin with "/", like "/health"' })
    }
  })
  .prefault({})
  .meta({ description: 'Health checks, metrics and console over HTTP.' })
export type HealthConfig = z.output<typeof healthConfig>

/** Short ones are guessed. */
const tokenLength = 16

export const consoleConfig = z
  .strictObject({
    enabled: z.boolean().default(true).meta({ description: 'Serve the web page on the address of `health`.' }),
    token: secret().optional().meta({
      description:
        'What one must know to act from the page (requeue, drop, replay, reload), and to see it at all on another address than localhost. At least 16 characters.',
    }),
  })
  .superRefine(({ token }, context) => {
    if (token !== undefined && token.reveal().length < tokenLength)
      context.addIssue({ code: 'custom', path: ['token'], message: `must have at least ${tokenLength} characters` })
  })
  .prefault({})
  .meta({ description: 'The web page that shows what is going on.' })
export type ConsoleConfig = z.output<typeof consoleConfig>

/** The port of `:8080`, `0.0.0.0:8080` or `[::1]:8080`. */
export function portOf(address: string): number | undefined {
  const port = Number(/:(\d{1,5})$/.exec(address)?.[1] ?? Number.NaN)
  return port <= 65535 ? port : undefined
}

/** The host of such an address; undefined for every interface. */
export function hostOf(address: string): string | undefined {
  const host = address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return host === '' ? undefined : host
}

/** True if only this machine can reach it. */
export function isLoopback(address: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(hostOf(address) ?? '')
}
