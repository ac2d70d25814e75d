/** One request with an export in it, by gRPC or HTTP. */
import type { Signal } from '../core/component.ts'
import type { OtlpSignal } from './otlp-target.ts'

export interface OtlpTransport extends AsyncDisposable {
  /**
   * Resolves with the answer, which may be empty. Throws a StreamError: transient if the same bytes may be accepted another time,
   * too_large if they are too many, permanent if they never will. Aborting the signal ends it soon.
   */
  send(signal: OtlpSignal, bytes: Buffer, o: Signal): Promise<Buffer>
}
