/** A tree of files, on this machine or on a server, as a source of files needs it. */
import type { Signal } from '../core/component.ts'

export interface FileFacts {
  /** `link`: a symbolic link that was not followed. */
  readonly kind: 'file' | 'folder' | 'link' | 'other'
  readonly size: number
  /** Last change of the content, in ms since the epoch; as exact as the store tells it. */
  readonly modifiedMs: number
}

export interface FileEntry extends FileFacts {
  /** Without a folder. */
  readonly name: string
}

export type ExpectedFile = Pick<FileFacts, 'size' | 'modifiedMs'>

/**
 * Paths are absolute, with `/` between names. Everything throws a StreamError: source.access for what an operator must
 * change (no such folder, no right, wrong password), source.vanished for a file that is not there, source.unavailable for what may pass.
 * Calls may be made at the same time, and each ends soon with a throw when its signal is aborted.
 */
export interface FileStore extends AsyncDisposable {
  /** Where its files are, before their path, without secrets: `sftp://acme@sftp.example.com`, `file://`. */
  readonly place: string
  /** The path with links, `.` and `..` resolved; a relative one from the user's own folder. */
  resolve(path: string, o: Signal): Promise<string>
  /** The entries of a folder, some at a time, in no order, without `.` and `..`. Links are told as links. */
  list(folder: string, o: Signal): AsyncIterable<readonly FileEntry[]>
  /** Follows links; undefined if there is nothing. */
  stat(path: string, o: Signal): Promise<FileFacts | undefined>
  /**
   * Opens a file for reading. Survives a connection that breaks: the file is opened again where reading goes on, and must be
   * the same one then, the `expected` one if that is known (else source.replaced).
   */
  open(path: string, o: Signal & { readonly expected?: ExpectedFile }): Promise<OpenFile>
  /** Removes a file; that it is gone already is no error. */
  remove(path: string, o: Signal): Promise<void>
  /** Moves a file; never over another: false if there is something at `to`. */
  move(from: string, to: string, o: Signal): Promise<boolean>
  /** Makes the folder and those above it, where they are missing. */
  makeFolder(path: string, o: Signal): Promise<void>
}

export interface OpenFile extends AsyncDisposable {
  /** Size and time of what is open, asked anew. */
  stat(o: Signal): Promise<FileFacts>
  /** Fills `into` from `offset` on; fewer bytes than that only where the file ends. Called concurrently. */
  read(offset: number, into: Buffer, o: Signal): Promise<number>
}
