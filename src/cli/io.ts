/** What a command may know of the process that it runs in. */

/** 0 ok, 1 run failed, 2 bad config or command line, 3 check failed, or nothing runs. */
export type ExitCode = 0 | 1 | 2 | 3

export interface Io {
  /** Records come as bytes: they may be in any encoding. */
  readonly stdout: (text: string | Buffer) => void
  readonly stderr: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** True if people watch stderr in a terminal. */
  readonly terminal: boolean
  /** Whether text there may be coloured. */
  readonly color: { readonly stdout: boolean; readonly stderr: boolean }
  /** Puts a question to the person at the keyboard; undefined if there is none. */
  readonly ask: ((question: string) => Promise<string>) | undefined
  /** Size of the terminal that standard output is; undefined if it is none. */
  readonly screen?: () => { readonly columns: number; readonly rows: number } | undefined
  /** Aborted when nobody reads standard output any more, as after `… | head`. */
  readonly unread: AbortSignal
  /** Aborted by the first signal: stop intake and drain. */
  readonly soft: AbortSignal
  /** Aborted by the second signal: stop at once. */
  readonly hard: AbortSignal
  /** From now on SIGHUP calls this, in the place of ending the process, until it is disposed of. */
  readonly onHangup: (listener: () => void) => Disposable
}
