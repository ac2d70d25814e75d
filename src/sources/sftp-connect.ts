/** Makes a connection to an SFTP server, up to where files can be asked for. */
import type { Socket } from 'node:net'
import ssh2, { type Algorithms, type Client, type SFTPWrapper } from 'ssh2'
import type { Log, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'
import { connectError, interrupted } from './sftp-errors.ts'
import { HostKeys } from './sftp-host-key.ts'
import type { Login } from './sftp-login.ts'
import { socketFor } from './sftp-socket.ts'

export interface Connected {
  readonly client: Client
  readonly socket: Socket
  readonly sftp: SFTPWrapper
}

export interface ConnectOptions {
  readonly config: SftpConfig
  readonly login: Login
  readonly log: Log
}

/**
 * Connects, checks the host key, logs in and starts SFTP. `made` is called as soon as that is done, before anything else can
 * happen to the connection. Throws source.access for what an operator must change, else source.unavailable.
 */
export async function connectSftp<T>(
  { config, login, log }: ConnectOptions,
  made: (connected: Connected) => T,
  { signal }: Signal,
): Promise<T> {
  const place = sftpPlace(config)
  const hostKeys = await HostKeys.load(config)
  if (signal.aborted) throw interrupted(`connecting to ${place}`, signal)
  using limit = new TimeLimit(signal, config.connect_timeout)
  const client = new ssh2.Client()
  const socket = socketFor(client)
  const attempt = login.attempt()
  try {
    return await new Promise<T>((resolve, reject) => {
      limit.signal.addEventListener('abort', () => reject(limit.signal.reason))
      let refused: StreamError | undefined
      client.on('error', (error) => {
        const level = 'level' in error ? error.level : undefined
        // These two leave the next method to be tried.
        if (level === 'agent' || (level === 'client-authentication' && /sign/i.test(error.message))) attempt.note(error)
        else if (refused) reject(refused)
        else reject(level === 'client-authentication' || attempt.wasRefused ? attempt.refusal() : error)
      })
      client.on('close', () => {
        reject(attempt.wasRefused ? attempt.refusal() : new Error('the server closed the connection'))
      })
      client.on('change password', () => reject(attempt.expired()))
      client.on('banner', (text) => log.debug({ place, text: text.slice(0, 500) }, 'the SFTP server greets'))
      client.on('ready', () => {
        client.sftp((error, sftp) => {
          if (error) reject(noSftp(error, place))
          else resolve(made({ client, socket, sftp }))
        })
      })
      client.connect({
        sock: socket,
        username: config.username,
        algorithms: offered(config, hostKeys),
        hostVerifier: (key: Buffer) => {
          refused = hostKeys.refusal(key)
          return refused === undefined
        },
        authHandler: (allowed: readonly string[] | null) => attempt.next(allowed),
        readyTimeout: 0,
      })
      socket.connect({ host: config.host, port: config.port })
    })
  } catch (error) {
    socket.destroy()
    if (signal.aborted) throw interrupted(`connecting to ${place}`, signal)
    const why = limit.isOver
      ? new Error(`no session within connect_timeout (${config.connect_timeout / 1000} s)`)
      : error
    throw connectError(why, place)
  }
}

/** ssh2 says which it knows when it meets one that it does not. */
function offered({ algorithms }: SftpConfig, hostKeys: HostKeys): Algorithms {
  const { kex, cipher, hmac, compress } = algorithms
  return {
    serverHostKey: hostKeys.algorithms,
    ...(kex === undefined ? {} : { kex }),
    ...(cipher === undefined ? {} : { cipher }),
    ...(hmac === undefined ? {} : { hmac }),
    ...(compress === undefined ? {} : { compress }),
  } as Algorithms
}

/** A server that refuses the subsystem, or whose program for it ends at once, does so every time. */
function noSftp(error: Error, place: string): Error {
  if (!/subsystem|exit code/i.test(error.message)) return error
  return new StreamError(
    'source.access',
    `cannot start SFTP at ${place}: ${error.message} (does the server offer SFTP to this user?)`,
    { cause: error },
  )
}
