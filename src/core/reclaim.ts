/**
 * Chunks of decoded data are garbage within a tenth of a second, but V8 sees only their small handles and lets tens of
 * megabytes pile up before it looks. A collection of the young generation after a fixed amount of output keeps the process small for
 * a few per cent of CPU (docs/design.md, "Speed"). Needs `--expose-gc`, which bin/launch.sh gives; without it nothing happens.
 */
let everyBytes = 16 * 2 ** 20
/** Whole collections, which cost far more, come no more often than after so many of the young ones. */
const wholeEvery = 4
/** Young collections between two whole ones that come in any case. */
const youngPerOld = 32
let oldEvery = Number.POSITIVE_INFINITY
let since = 0
let young = 0
let ceilingBytes = Number.POSITIVE_INFINITY

/** From now on the process is to stay below so many bytes: above it, whole collections help. */
export function keepBelow(rssBytes: number): void {
  ceilingBytes = Math.min(ceilingBytes, rssBytes)
}

/**
 * From now on it is looked after so many bytes, if that is sooner: where little else is in memory, garbage counts. And what has
 * grown old meanwhile is collected now and then, however large the process is.
 */
export function reclaimEvery(bytes: number): void {
  everyBytes = Math.min(everyBytes, bytes)
  oldEvery = youngPerOld
}

/** Collects all there is: what a start leaves behind would stay for long. */
export function reclaimStart(): void {
  void globalThis.gc?.({ type: 'major', flavor: 'last-resort' })
}

export function reclaim(outputBytes: number): void {
  since += outputBytes
  if (since < everyBytes) return
  since = 0
  young += 1
  const isDue = young >= wholeEvery && ceilingBytes < Number.POSITIVE_INFINITY
  if (young >= oldEvery || (isDue && process.memoryUsage.rss() > ceilingBytes)) {
    young = 0
    void globalThis.gc?.({ type: 'major' })
  } else void globalThis.gc?.({ type: 'minor' })
}
