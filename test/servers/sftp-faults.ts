/** What the test SFTP server may be made to do wrong: switches for its whole behaviour, faults for one request. */
import type { SftpStatus } from './sftp-wire.ts'

/** What happens to one request instead of an ordinary answer. */
export type SftpFault =
  /** Refused, nothing is done; `sftpStatus` of sftp-wire.ts has the codes. */
  | { readonly status: SftpStatus; readonly message?: string }
  | { readonly delayMs: number; readonly next?: SftpFault }
  /** Never answered, nothing is done; the connection stays. */
  | { readonly stall: true }
  /** The connection is reset; nothing is done. */
  | { readonly cut: true }
  /** It is done; that many bytes of the answer (its length field first) are sent, then the connection ends. 0: none. */
  | { readonly cutAfter: number }
  /** READ: these bytes instead of the file's. */
  | { readonly data: Buffer }
  /** READ: at most that many bytes. */
  | { readonly short: number }
  /** It is done; these bytes are sent instead of the answer. */
  | { readonly raw: Buffer }

export type SftpVerdict = SftpFault | undefined | Promise<SftpFault | undefined>

/** `n` counts the requests for this path that this hook saw, from 1. A hook may also change the files. */
export type SftpHook = (path: string, n: number) => SftpVerdict

/** Paths are as the client gave them (for what has a handle: as it was opened). Set or replace hooks at any time. */
export interface SftpFaults {
  onRead?: ((path: string, offset: number, length: number, n: number) => SftpVerdict) | undefined
  onOpen?: SftpHook | undefined
  /** CLOSE, of files and folders. */
  onClose?: SftpHook | undefined
  /** OPENDIR. */
  onList?: SftpHook | undefined
  /** READDIR: one page. */
  onListPage?: SftpHook | undefined
  /** STAT, LSTAT and FSTAT. */
  onStat?: SftpHook | undefined
  /** REALPATH. */
  onResolve?: SftpHook | undefined
  onRemove?: SftpHook | undefined
  /** RENAME and posix-rename; gets the old path. */
  onRename?: SftpHook | undefined
  onMakeFolder?: SftpHook | undefined
  /** `refuse`: as a wrong password; `stall`: no answer; `cut`: the connection is reset. Called once a method. */
  onAuth?: ((user: string, method: string) => 'refuse' | 'stall' | 'cut' | undefined) | undefined
}

/** May be changed at any time; what concerns connections and sessions holds for new ones. */
export interface SftpSwitches {
  /** Does not know limits@openssh.com. */
  withoutLimits: boolean
  /** Most bytes of one READ: longer ones are answered short. limits@openssh.com tells it. */
  maxReadBytes: number
  /** A READ longer than maxReadBytes fails. */
  maxReadStrict: boolean
  /** Most handles open in one session. */
  maxHandles: number
  /** A second READ in flight on one handle fails with SSH_FX_FAILURE. */
  serialOnly: boolean
  /** Each READ is answered with some of the bytes, at least one. */
  shortReads: boolean
  /** Each request waits that long for its answer, as on a long line. */
  latencyMs: number
  /** READDIR tells names only. */
  listWithoutAttributes: boolean
  /** Every credential is wrong. */
  refuseAuth: boolean
  /** After that many refused ones the connection ends, as sshd's MaxAuthTries. */
  maxAuthTries: number
  /** Methods that the server offers, in this order. */
  authMethods: readonly ('publickey' | 'password' | 'keyboard-interactive')[]
  /** New connections are reset at once. */
  refuseConnections: boolean
  /** More connections than that are closed before any byte, as sshd's MaxStartups. */
  maxConnections: number
  /** More channels in one connection than that are refused, as sshd's MaxSessions. */
  maxSessions: number
  /** The subsystem sftp is refused, as by a server without it. */
  withoutSftp: boolean
  /** New connections are taken, but nothing is ever said. */
  stallHandshake: boolean
}

export function defaultSwitches(): SftpSwitches {
  return {
    withoutLimits: false,
    // OpenSSH's: its longest packet of 256 KiB less 1 KiB.
    maxReadBytes: 255 * 1024,
    maxReadStrict: false,
    maxHandles: 1000,
    serialOnly: false,
    shortReads: false,
    latencyMs: 0,
    listWithoutAttributes: false,
    refuseAuth: false,
    maxAuthTries: 6,
    authMethods: ['publickey', 'password', 'keyboard-interactive'],
    refuseConnections: false,
    maxConnections: 100,
    maxSessions: 10,
    withoutSftp: false,
    stallHandshake: false,
  }
}

export interface SftpCounters {
  /** TCP connections that came, refused ones too. */
  connections: number
  connectionsOpen: number
  /** Credentials that were refused. */
  authFailures: number
  /** SFTP sessions that began. */
  sessions: number
  requests: number
  opens: number
  reads: number
  /** Bytes of files handed out. */
  readBytes: number
  /** READs that waited for their answer at the same time, on one handle, at most. */
  readsInFlight: number
  stats: number
  lists: number
  resolves: number
  removes: number
  renames: number
  makeFolders: number
  /** Handles of files and folders that are open. */
  handlesOpen: number
}

export function newCounters(): SftpCounters {
  return {
    connections: 0,
    connectionsOpen: 0,
    authFailures: 0,
    sessions: 0,
    requests: 0,
    opens: 0,
    reads: 0,
    readBytes: 0,
    readsInFlight: 0,
    stats: 0,
    lists: 0,
    resolves: 0,
    removes: 0,
    renames: 0,
    makeFolders: 0,
    handlesOpen: 0,
  }
}
