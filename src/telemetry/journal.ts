/** Standard output that is a stream of systemd's journal: it has a time for each line, and takes the level from a prefix. */
import { fstatSync } from 'node:fs'
import type { LogLevel } from './log.ts'

/** True if file descriptor `fd` is the journal, as `JOURNAL_STREAM` says (systemd.exec(5)). */
export function isJournal(env: Readonly<Record<string, string | undefined>>, fd: number): boolean {
  const [device, inode] = (env.JOURNAL_STREAM ?? '').split(':')
  if (!device || !inode) return false
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true })
    return String(dev) === device && String(ino) === inode
  } catch {
    return false
  }
}

/** Priorities of sd-daemon(3). */
const priorities: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 }

/** Lines with their level before each; the journal takes it off again. */
export function journalLines(text: string, level: LogLevel): string {
  return text.replaceAll(/^(?=.)/gm, `<${priorities[level]}>`)
}
