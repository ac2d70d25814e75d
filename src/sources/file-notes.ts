/** What the reference pages of all sources of files say. */
export const fileNotes = `Every poll goes through the folder and those below it, in the order of the bytes of the paths, and gives out each file that the ledger does not know.
A file is known by its path, its size and the time of its last change: one that was written again is a new object, one that only got a new name is one too.

**Finished files**: a file that is read while it grows is noticed (size and time are compared before the first byte and after the last) and read again, as a new object. So that half a file
never arrives, let its writer give it its name last (\`finished.temporary\`), or a marker (\`finished.marker\`), or wait: \`min_age\`, \`finished.stable\`. Clocks: \`min_age\` compares the file's time with
our clock; a file from the future counts from when it was first seen.

**Afterwards** (\`after\`): only when the ledger has it that all of the file arrived, and only if it still is that version. What a crash leaves undone, the next poll does: it finds the file, which
the ledger knows as done. That is also what happens to files that were read before \`after\` was set. Files in quarantine stay where they are. A marker of its own goes with its file, so
one that is named by \`{stem}\` must not serve two files; a marker of a whole folder stays. Moving never overwrites: where the name is taken, \`.1\`, \`.2\` … is put behind it.

**Passed over, and told**: folders that may not be read, names that are not UTF-8, names with \`/\` or \`..\` in them, paths of more than 1024 bytes: each is an error in the log, and a run that ends by itself
fails for it at its end; the rest is read. Symbolic links (without \`follow_links\`) and devices, sockets and pipes are counted.

**Memory** does not depend on the size of files. Of the tree, one folder at a time is held, and of that at most 50,000 files at once (with \`finished.marker\` all of them).

**Guarantee**: at least once. Files that are still there are remembered however old they are; those that are gone for \`state.retention\` are forgotten. \`run --once\` looks again, up to five times, for files that
changed while they were read, and fails if they still do.`
