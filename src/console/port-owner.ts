/** Who listens on a port of this machine, as far as Linux tells. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename } from 'node:path'

export interface PortOwner {
  readonly pid: number
  /** Name of the program, with that of its script if it is an interpreter: `edgedelta`, `node server.js`. */
  readonly name: string
}

/** State of a listening socket in /proc/net/tcp, see proc_pid_net(5). */
const listening = '0A'

/** undefined if nobody does, the system does not tell, or it is a process that we may not look into. */
export function portOwner(port: number): PortOwner | undefined {
  const inodes = new Set(['tcp', 'tcp6'].flatMap((table) => listeners(table, port)).map(({ inode }) => inode))
  if (inodes.size === 0) return undefined
  for (const pid of names('/proc').filter((name) => /^\d+$/.test(name))) {
    const isIts = names(`/proc/${pid}/fd`).some((fd) => inodes.has(linkOf(`/proc/${pid}/fd/${fd}`)))
    if (isIts) return { pid: Number(pid), name: programOf(pid) }
  }
  return undefined
}

/** Threads may call themselves anything (`MainThread`); the rest of the command line may hold secrets. */
function programOf(pid: string): string {
  const [program = '', first = ''] = textOf(`/proc/${pid}/cmdline`).split('\0')
  const name = basename(program) || textOf(`/proc/${pid}/comm`).trim()
  const isScript = /^(node|python|perl|ruby|java)/.test(name) && /\.(m?[jt]s|cjs|py|pl|rb|jar)$/.test(first)
  return isScript ? `${name} ${basename(first)}` : name
}

/**
 * False if that process is of another user than whoever listens on the port, so that nobody makes us signal a process by
 * answering in its name. True also where the system does not tell.
 */
export function isOfListener(pid: number, port: number | undefined): boolean {
  const users =
    port === undefined ? [] : ['tcp', 'tcp6'].flatMap((table) => listeners(table, port)).map(({ user }) => user)
  if (users.length === 0) return true
  try {
    const { uid } = statSync(`/proc/${pid}`)
    return users.every((user) => user === uid)
  } catch {
    return false
  }
}

interface Listener {
  /** As the links of file descriptors name it. */
  readonly inode: string
  readonly user: number
}

function listeners(table: string, port: number): Listener[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return textOf(`/proc/net/${table}`)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) && fields[3] === listening)
    .map((fields) => ({ inode: `socket:[${fields[9]}]`, user: Number(fields[7]) }))
}

// Processes end while we look, and those of others cannot be looked into.

function names(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return ''
  }
}
