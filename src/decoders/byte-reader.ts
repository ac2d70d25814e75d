/** Pulls pieces of a byte stream and lets a parser look at as many bytes as it needs, wherever the pieces were cut. */
export class ByteReader {
  readonly #pieces: AsyncIterator<Buffer>
  #chunk: Buffer = Buffer.alloc(0)
  #offset = 0
  #ended = false
  #failure: { readonly error: unknown } | undefined

  constructor(pieces: AsyncIterable<Buffer>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** Bytes at hand. A view: valid until the next call that reads. */
  get chunk(): Buffer {
    return this.#chunk
  }

  /** Place of `chunk` in the stream. */
  get offset(): number {
    return this.#offset
  }

  /** True if nothing follows the bytes at hand, as far as is known. */
  get ended(): boolean {
    return this.#ended
  }

  /** Reads until `n` bytes are at hand; false if the stream ends before. */
  async has(n: number): Promise<boolean> {
    while (this.#chunk.length < n) if (!(await this.more())) return false
    return true
  }

  /**
   * As `has`, for a look ahead: an error of the stream behind bytes that did come is kept for `rest`, so that they are not
   * lost with it.
   */
  async peek(n: number): Promise<boolean> {
    try {
      return await this.has(n)
    } catch (error) {
      if (this.#chunk.length === 0) throw error
      this.#failure = { error }
      this.#ended = true
      return false
    }
  }

  /** Adds the next piece; false at the end of the stream. */
  async more(): Promise<boolean> {
    while (!this.#ended) {
      const next = await this.#pieces.next()
      if (next.done) this.#ended = true
      else if (next.value.length > 0) {
        this.#chunk = this.#chunk.length === 0 ? next.value : Buffer.concat([this.#chunk, next.value])
        return true
      }
    }
    return false
  }

  skip(n: number): void {
    this.#chunk = this.#chunk.subarray(n)
    this.#offset += n
  }

  /** The bytes at hand and all that follow. The reader is used up. */
  async *rest(): AsyncGenerator<Buffer, void, undefined> {
    try {
      if (this.#chunk.length > 0) yield this.#chunk
      this.#chunk = Buffer.alloc(0)
      while (!this.#ended) {
        const next = await this.#pieces.next()
        if (next.done) this.#ended = true
        else if (next.value.length > 0) yield next.value
      }
      if (this.#failure) throw this.#failure.error
    } finally {
      await this.close()
    }
  }

  /** Gives the stream up; what feeds it is closed. */
  async close(): Promise<void> {
    this.#ended = true
    await this.#pieces.return?.()
  }
}
