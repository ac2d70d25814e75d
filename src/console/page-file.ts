/** What the server needs of the files of the page. */

export interface PageFiles {
  /** The file at a path of the URL, decoded, `/` for the page itself; undefined if there is none. Never reads a path that it does not know. */
  file(path: string): Promise<PageFile | undefined>
  /** Sources for `script-src` of the Content-Security-Policy besides 'self', like `'sha256-…'` of the import map. */
  readonly scriptSources: readonly string[]
}

export interface PageFile {
  /** Content-Type. */
  readonly type: string
  readonly body: Buffer
  /** The body for a browser that takes gzip. */
  readonly gzip: Buffer
  /** Strong, with its quotes: the same as long as the content is. */
  readonly etag: string
}
