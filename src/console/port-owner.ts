/** Who listens on a port of this machine, as far as Linux tells. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface PortOwner {
  readonly pid: number
  /** Name of the program. */
  readonly name: string
}

/** State of a listening socket in /proc/net/tcp, see proc_pid_net(5). */
const listening = '0A'

/** undefined if nobody does, the system does not tell, or it is a process that we may not look into. */
export function portOwner(port: number): PortOwner | undefined {
  const inodes = new Set(['tcp', 'tcp6'].flatMap((table) => listeningInodes(table, port)))
  if (inodes.size === 0) return undefined
  for (const pid of names('/proc').filter((name) => /^\d+$/.test(name))) {
    const isIts = names(`/proc/${pid}/fd`).some((fd) => inodes.has(linkOf(`/proc/${pid}/fd/${fd}`)))
    if (isIts) return { pid: Number(pid), name: textOf(`/proc/${pid}/comm`).trim() }
  }
  return undefined
}

/** As the links of file descriptors name them. */
function listeningInodes(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return textOf(`/proc/net/${table}`)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) && fields[3] === listening)
    .map((fields) => `socket:[${fields[9]}]`)
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
