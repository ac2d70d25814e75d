/**
 * Chunks of decoded data are garbage within a tenth of a second, but V8 sees only their small handles and lets tens of
 * megabytes pile up before it looks. A collection of the young generation after a fixed amount of output keeps the process small for
 * a few per cent of CPU (docs/design.md, "Speed"). Needs `--expose-gc`, which bin/launch.sh gives; without it nothing happens.
 */
const everyBytes = 16 * 2 ** 20
let since = 0

export function reclaim(outputBytes: number): void {
  since += outputBytes
  if (since < everyBytes) return
  since = 0
  void globalThis.gc?.({ type: 'minor' })
}
