/** Where the server listens: a port that was asked for must be free, the default one gives way. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { StreamError } from '../core/errors.ts'
import { defaultAddress, hostOf, portOf } from './config.ts'
import { portOwner } from './port-owner.ts'

export interface Listening {
  /** More than one for `localhost`, which has an address of either family. */
  readonly servers: readonly Server[]
  readonly port: number
  /** Where a browser on this machine finds it, without a slash at the end. */
  readonly url: string
  /** As it was asked for, with the port that it has. */
  readonly address: string
}

/** Whoever connects and says nothing is let go; one who keeps a connection open comes back within the usual scrape interval. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5000,
  maxHeaderSize: 16 * 1024,
}

/** Called with each server before anybody can connect. */
type Prepare = (server: Server) => void

/** Throws console.bind. `address` undefined: the default one, or another port if that one is taken. */
export async function listen(address: string | undefined, prepare: Prepare): Promise<Listening> {
  if (address !== undefined) return await listenOn(address, prepare)
  try {
    return await listenOn(defaultAddress, prepare)
  } catch (error) {
    if (!(error instanceof StreamError) || error.data.reason !== 'EADDRINUSE') throw error
    return await listenOn(`${hostOf(defaultAddress)}:0`, prepare)
  }
}

async function listenOn(address: string, prepare: Prepare): Promise<Listening> {
  const host = hostOf(address)
  const wanted = portOf(address) as number
  const servers: Server[] = []
  let port = wanted
  // `localhost` is both, whatever /etc/hosts says first.
  const hosts = host === 'localhost' ? ['127.0.0.1', '::1'] : [host]
  for (const one of hosts) {
    try {
      const server = await listening(one, port, prepare)
      servers.push(server)
      port = (server.address() as AddressInfo).port
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      // A machine may be without IPv6.
      if (one === '::1' && (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT')) continue
      await closeAll({ servers })
      // A port that is free for one family may be taken for the other.
      if (wanted === 0 && servers.length > 0 && code === 'EADDRINUSE') return await listenOn(address, prepare)
      throw bindError(address, wanted, error)
    }
  }
  const name = host === undefined || host === '0.0.0.0' || host === '::' ? 'localhost' : host
  const urlHost = name.includes(':') ? `[${name}]` : name
  return { servers, port, url: `http://${urlHost}:${port}`, address: address.replace(/\d+$/, String(port)) }
}

async function listening(host: string | undefined, port: number, prepare: Prepare): Promise<Server> {
  const server = createServer({ ...limits, keepAlive: true })
  prepare(server)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(host === undefined ? { port } : { port, host }, resolve)
  await promise
  server.off('error', reject)
  return server
}

export async function closeAll({ servers }: Pick<Listening, 'servers'>): Promise<void> {
  await Promise.all(servers.map(close))
}

/** Takes no more connections; those that are in the middle of an answer have a moment to end it. */
async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), closingMs)
  await promise
  clearTimeout(timer)
}

const closingMs = 1000

function bindError(address: string, port: number, error: unknown): StreamError {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const [reason, advice] = reasonOf(code, address, port)
  return new StreamError(
    'console.bind',
    `cannot listen on ${address} for health checks and the console: ${reason} (${advice})`,
    { cause: error, data: { address, reason: code } },
  )
}

function reasonOf(code: string, address: string, port: number): readonly [string, string] {
  const another = 'choose another health.address, like "localhost:8091"'
  switch (code) {
    case 'EADDRINUSE': {
      const owner = portOwner(port)
      const by = owner ? ` by ${owner.name}, process ${owner.pid}` : ' by another program'
      return [`the port is taken${by}`, `${another}, or stop that program`]
    }
    case 'EACCES':
      return ['ports below 1024 need a privilege', another]
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['the host is not known', another]
    case 'EADDRNOTAVAIL':
      return [`${hostOf(address)} is no address of this machine`, `${another}, or ":${port}" for every interface`]
    default:
      return [code === '' ? 'the system refuses' : `the system says ${code}`, another]
  }
}
