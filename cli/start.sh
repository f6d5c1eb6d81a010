# Sourced by the programs in bin, with $program set to their name and $root to the checkout: runs the bundle that
# `npm run cli` (and `npm start`) made, or, when a source is newer, the sources, which start several times slower.
node=$root/node_modules/.bin/node
if [ ! -x "$node" ]; then
  echo "$program: the packages of $root are missing: run npm ci there" >&2
  exit 1
fi
. "$root/cli/is-bundled.sh"
if is_bundled; then
  exec "$node" "$root/dist/cli/$program.mjs" "$@"
fi
exec "$node" "$root/cli/entry/$program.ts" "$@"
